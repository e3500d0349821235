"""HTTP: routes, parameters, problems, OpenAPI, middleware, server and connections."""
