// Starts ReDoc on the document beside the page. Its search needs a worker made from text, which the page's policy keeps out.
"use strict";

Redoc.init("openapi.json", { disableSearch: true, sanitize: true }, document.getElementById("redoc"));
