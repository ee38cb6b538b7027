from .base import *

SECRET_KEY = env("APP_KEY")
ALLOWED_HOSTS = env.list("HOSTS")
PAYMENT_TOKEN = env("PAYMENT_TOKEN")
