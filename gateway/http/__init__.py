"""HTTP: routes, parameters, problems, OpenAPI, middleware, server, connections and WebSockets."""
