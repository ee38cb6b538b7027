"""What is asserted about load balancers and certificates, and why."""

from sandbox.api.asserted.assertion import assumed, docs, spec

LOAD_BALANCERS = (
    spec("Load balancer", "is new until it serves, then active; or errored", "load_balancer_base.yml"),
    spec("Load balancer", "an address may be empty, as it is while the balancer is new", "load_balancer_base.yml, ip"),
    docs(
        "Load balancer",
        "while it is new it can't be changed: 403, can't be updated while it processes previous actions",
        "github.com/digitalocean/openapi issue 1173",
    ),
    spec(
        "Load balancer", "a change replaces the whole: what is not said is reset to its default", "loadBalancers_update"
    ),
    assumed("Load balancer", "but its project and VPC stay; another region or VPC is 422", "the provider replaces it"),
    spec(
        "Load balancer",
        "has the Droplets that are named, or those that have a tag, now and later",
        "loadBalancers_create",
    ),
    docs("Load balancer", "may be without Droplets", "recorded of the provider's acceptance tests"),
    spec("Load balancer", "with a tag no Droplet is added by its id: 422", "loadBalancers_add_droplets"),
    docs("Load balancer", "an empty list of Droplets to add is 422", "droplet_kit issue 153, for the words"),
    docs("Load balancer", "at most ten Droplets by id; in its region and VPC", "Load Balancers, limits; how to manage"),
    assumed(
        "Load balancer", "Droplets of other VPCs that have its tag are no members; by id they are 422", "unreachable"
    ),
    assumed("Load balancer", "a tag that doesn't exist is 422", "so it is with firewalls"),
    docs("Load balancer", "names may be the same twice", "datasource_loadbalancer.go: too many load balancers found"),
    spec("Load balancer", "lb-small, -medium and -large are 1, 3 and 6 nodes; up to 100", "load_balancer_base.yml"),
    assumed(
        "Load balancer", "size and size_unit are both answered; how often it is resized isn't limited", "words only"
    ),
    spec(
        "Load balancer",
        "the health check is http on port 80, path /, every 10 s, 5 s to answer, 5 to be healthy, 3 not to be",
        "examples of all answers, and the provider; the model's thresholds of 3 and 5 are the other way round",
    ),
    docs(
        "Load balancer",
        "intervals and timeouts of checks are 3 to 300 s, thresholds 2 to 10, a cookie's name has 2 to 40 characters",
        "resource_loadbalancer.go of the provider",
    ),
    docs("Load balancer", "a tcp check has no path; cookies need name and lifetime", "the same, CustomizeDiff"),
    spec("Load balancer", "the idle timeout is 30 to 600 s, 60 by default", "load_balancer_base.yml"),
    assumed(
        "Load balancer",
        "the idle timeout is also that of tcp, of keep-alive and of upgraded connections",
        "limits: 60 s",
    ),
    docs(
        "Load balancer",
        "https, http2 and http3 need a certificate or pass TLS through; the target is http, https or http2",
        "SSL termination; for the words see the cloud controller's",
    ),
    assumed("Load balancer", "what passes through stays what it is; an entry port has one rule; 422", "words only"),
    assumed(
        "Load balancer", "a redirect needs a rule of https or http2 on port 443; without one on 80, 80 listens", "words"
    ),
    assumed("Load balancer", "the redirect is 307", "it keeps the method; no document names the status"),
    docs(
        "Load balancer",
        "redirects from port 80 to 443; sets X-Forwarded-For, -Proto and -Port where it reads http",
        "Load Balancers, features and limits",
    ),
    assumed("Load balancer", "X-Forwarded-For of a visitor stays before what is added", "the less safe of both"),
    docs("Load balancer", "the cookie of sticky sessions is set and taken away by it", "Load Balancers, limits"),
    docs("Load balancer", "TLS 1.2 and 1.3 only", "Load Balancers, limits"),
    assumed(
        "Load balancer", "STRONG has ECDHE with AES-GCM or ChaCha20; DEFAULT also CBC and RSA", "no list was found"
    ),
    docs("Load balancer", "connections to members are not kept, unless enable_backend_keepalive is on", "limits"),
    docs(
        "Load balancer",
        "members begin as down; 503 while none is healthy",
        "Load Balancers, support; bobcares.com 319043",
    ),
    assumed(
        "Load balancer", "a check succeeds with 200 to 399; its Host is the member's address", "usual; Django says so"
    ),
    assumed(
        "Load balancer", "with PROXY protocol (version 1) checks speak it, too", "else members would need two ports"
    ),
    assumed("Load balancer", "a request that its member has not taken within 3 s goes to another one", "usual"),
    assumed("Load balancer", "certificates of members aren't verified", "Droplets have none for their addresses"),
    docs(
        "Load balancer",
        "a Droplet that is taken away has 60 s for the connections that it has; it gets no new ones",
        "second-hand: of scaling down",
    ),
    assumed("Load balancer", "deny goes before allow; with an allow list all others are denied", "usual"),
    assumed("Load balancer", "a port without a rule drops packets", "as a Cloud Firewall does"),
    assumed("Load balancer", "a firewall forgets one that is deleted", "so it is with Droplets"),
    assumed(
        "Load balancer",
        "algorithm is kept and followed, though it can't be specified any more",
        "the provider sends it",
    ),
    assumed("Load balancer", "deleting the cache of a regional one is 422", "only global ones have one"),
)

CERTIFICATES = (
    spec(
        "Certificate",
        "Let's Encrypt's are pending, then verified or error; uploaded ones are verified",
        "certificates_create",
    ),
    docs("Certificate", "without a type it is custom", "resource_certificate.go of the provider"),
    docs("Certificate", "a name is used once", "docs of the provider's digitalocean_loadbalancer; 422 is assumed"),
    docs(
        "Certificate",
        "Let's Encrypt's are for names of domains of the account: 422, one or more …",
        "provider pull request 129; the rest of the words is assumed",
    ),
    assumed(
        "Certificate", "they are proved by DNS, before there is a load balancer; wildcards, too", "dns_names' example"
    ),
    assumed("Certificate", "while one is pending it has no fingerprint and no end", "the example has those of another"),
    docs(
        "Certificate",
        "one that is used can't be deleted: 403, in the words of both variants",
        "resource_certificate.go",
    ),
    docs("Certificate", "a renewed one has the same name and another id", "resource_certificate.go of the provider"),
    assumed(
        "Certificate",
        "they are renewed 30 days before their end; the old one is gone at once",
        "Let's Encrypt's advice",
    ),
    assumed("Certificate", "key, certificate and chain must fit, and not have ended: 422", "words only"),
    assumed("Certificate", "dns_names of an uploaded one are those in it", "the provider calls them computed"),
    spec(
        "Certificate",
        "address records for names of Let's Encrypt's are written, unless disable_lets_encrypt_dns_records is set",
        "load_balancer_base.yml",
    ),
    assumed(
        "Certificate", "records that are there stay, and those that were written stay, too", "nothing is documented"
    ),
    assumed("Certificate", "at depth api the world's own authority issues them", "there is no ACME server"),
)
