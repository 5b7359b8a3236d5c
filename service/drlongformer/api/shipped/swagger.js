// Starts Swagger UI on the document beside the page; nothing is asked of any other address.
"use strict";

SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#swagger",
  validatorUrl: null,
  deepLinking: true,
  defaultModelsExpandDepth: 0,
  displayRequestDuration: true,
  persistAuthorization: false,
});
