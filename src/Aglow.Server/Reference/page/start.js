// Draws the calls of this server. Nothing is loaded from elsewhere: no validator, and the files of Swagger UI are this server's.
SwaggerUIBundle({
    url: '/openapi/v1.json',
    dom_id: '#reference',
    deepLinking: true,
    validatorUrl: null,
    displayRequestDuration: true,
    defaultModelsExpandDepth: 0,
});
