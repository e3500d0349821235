"""Tests of the image, of the compose file and of the manifests of Kubernetes."""
