"""The site's certificate: kept, obtained, and served."""
