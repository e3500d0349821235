"""The contacts of people with the gateway, and their topic ``im.contacts``."""
