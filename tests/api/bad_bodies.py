"""Bad requests to the routes that read documents, and to all alike: no JSON, JSON that breaks its schema, wrong headers."""

from __future__ import annotations

from tests.api.bad import CANARY, TEXT, Bad, body, headed, raw, with_field

TASKS = ("/embed", "/ner", "/classify", "/fill-mask", "/tokenize")
PAIRED = ("/similarity", "/multiple-choice")


NOT_JSON = [
    raw("empty", b""),
    raw("blank", b" \n"),
    raw("words", b"CANARY"),
    raw("form", b"inputs=CANARY"),
    raw("XML", b"<inputs>CANARY</inputs>"),
    raw("cut in a string", b'{"inputs": "CANARY'),
    raw("cut in an object", b'{"inputs": "CANARY"'),
    raw("trailing words", b'{"inputs": "CANARY"} CANARY'),
    raw("two objects", b'{"inputs": "CANARY"}{"inputs": "CANARY"}'),
    raw("trailing comma", b'{"inputs": "CANARY",}'),
    raw("single quotes", b"{'inputs': 'CANARY'}"),
    raw("bare key", b'{inputs: "CANARY"}'),
    raw("comment", b'{"inputs": "CANARY"} // CANARY'),
    raw("byte order mark", b'\xef\xbb\xbf{"inputs": "CANARY"}'),
    raw("latin-1", b'{"inputs": "CANARY \xe9"}'),
    raw("cp1252", b'{"inputs": "CANARY \x92"}'),
    raw("utf-16", ('{"inputs": "' + CANARY + '"}').encode("utf-16")),
    raw("overlong bytes", b'{"inputs": "CANARY \xc0\xaf"}'),
    raw("cut character", b'{"inputs": "CANARY \xe2\x82"}'),
    raw("surrogate bytes", b'{"inputs": "CANARY \xed\xa0\x80"}'),
    raw("beyond Unicode", b'{"inputs": "CANARY \xf4\x90\x80\x80"}'),
    raw("high surrogate", b'{"inputs": "CANARY \\ud800"}'),
    raw("low surrogate", b'{"inputs": "CANARY \\udfff"}'),
    raw("reversed surrogates", b'{"inputs": "CANARY \\udc00\\ud800"}'),
    raw("surrogate in a list", b'{"inputs": ["CANARY", "\\uD834"]}'),
    raw("surrogate in an id", b'{"inputs": [{"text": "CANARY", "id": "\\ud800"}]}'),
    raw("surrogate in a key", b'{"inputs": "CANARY", "\\ud800": 1}'),
    raw("NaN", b'{"inputs": "CANARY", "min_score": NaN}'),
    raw("Infinity", b'{"inputs": "CANARY", "min_score": Infinity}'),
    raw("minus Infinity", b'{"inputs": "CANARY", "min_score": -Infinity}'),
    raw("1e999", b'{"inputs": "CANARY", "min_score": 1e999}'),
    raw("NaN in an unknown field", b'{"inputs": "CANARY", "x": [NaN]}'),
    raw("5000 digits", b'{"inputs": "CANARY", "min_score": ' + b"1" * 5000 + b"}", 422),
    raw("deep list", b"[" * 9000 + b"]" * 9000, 422),
    raw("endless list", b"[" * 19_000, 422),
    raw("deep object", b'{"CANARY":' * 1000 + b"1" + b"}" * 1000, 422),
    raw("control character", b'{"inputs": "CANARY \x00"}'),
    raw("line break in a string", b'{"inputs": "CANARY\n"}'),
    raw("bad escape", b'{"inputs": "CANARY \\q"}'),
    raw("short escape", b'{"inputs": "CANARY \\u12"}'),
    raw("key twice", b'{"inputs": "CANARY", "inputs": "CANARY"}', 422),
    raw("leading zero", b'{"inputs": "CANARY", "min_score": 01}'),
    raw("hexadecimal", b'{"inputs": "CANARY", "min_score": 0x1}'),
    raw("pickle", b"\x80\x04\x95CANARY."),
    raw("gzip bytes", b"\x1f\x8b\x08\x00CANARY"),
]

NOT_THE_SCHEMA = [
    *(body(f"body {value!r}", 422, value) for value in (None, True, 3, 1.5, CANARY, [], [TEXT], [{"inputs": TEXT}])),
    body("no inputs", 422, {}),
    body("misspelt inputs", 422, {"input": TEXT}),
    *(with_field("inputs", value) for value in (None, True, 3, {}, {"text": TEXT}, [], [[TEXT]], [None], [3], [TEXT, 3])),
    with_field("inputs", [TEXT] * 4),
    with_field("inputs", [{"id": CANARY}]),
    with_field("inputs", [{"text": None}]),
    with_field("inputs", [{"text": [TEXT]}]),
    with_field("inputs", [{"text": TEXT, "id": 3}]),
    with_field("inputs", [{"text": TEXT, "id": CANARY * 100}]),
    with_field("inputs", [{"text": TEXT, CANARY: CANARY}]),
    with_field(CANARY, CANARY),
    with_field("", CANARY),
    with_field("__class__", CANARY),
    with_field("chunks", "words", path="/embed"),
    with_field("parameters", {CANARY: 1}),
    with_field("truncate", True),
    *(with_field("overflow", value) for value in (CANARY, "", None, 3, ["windows"], "Windows")),
    with_field("truncate_side", CANARY),
    with_field("priority", CANARY),
    with_field("on_error", CANARY),
    with_field("offsets", CANARY),
    *(with_field("model", value) for value in (3, "", [CANARY], {CANARY: 1}, CANARY * 100)),
    with_field("head", 3),
    with_field("head", ""),
    with_field("pooling", CANARY, path="/embed"),
    with_field("pooling", "max", path="/embed"),
    with_field("normalize", "yes", path="/embed"),
    with_field("normalize", 1, path="/embed"),
    *(with_field("dimensions", value, path="/embed") for value in (0, -1, "4", 4.0, True, 10**30, CANARY)),
    with_field("encoding", CANARY, path="/embed"),
    with_field("aggregation", CANARY),
    *(with_field("labels", value) for value in (CANARY, [], [3], [""], [[CANARY]], {CANARY: 1}, [CANARY] * 1001)),
    *(with_field("min_score", value) for value in (-0.1, 1.1, 10**400, -(10**400), "0.5", True, [0.5], CANARY)),
    with_field("return_text", CANARY),
    with_field("redact", 0),
    *(with_field("top_k", value, path="/classify") for value in (0, -3, "3", 3.5, False, CANARY)),
    with_field("function", CANARY, path="/classify"),
    *(with_field("top_k", value, path="/fill-mask") for value in (0, 1001, None, "5")),
    *(with_field("targets", value, path="/fill-mask") for value in (CANARY, [], [3], [None])),
    with_field("pooling", "cls", path="/ner"),
    with_field("top_k", 3, path="/tokenize"),
]

NOT_POSSIBLE = [
    body("redaction of a part", 422, {"inputs": TEXT, "redact": True, "overflow": "truncate"}),
    *(body(f"empty text {path}", 422, {"inputs": ""}, path) for path in TASKS),
    body("one empty text of three", 422, {"inputs": [TEXT, "", TEXT]}),
    body("no mask", 422, {"inputs": TEXT}, "/fill-mask"),
    body("no mask in one of two", 422, {"inputs": [f"{CANARY} <mask>", TEXT]}, "/fill-mask"),
    body("target of several tokens", 422, {"inputs": f"{CANARY} <mask>", "targets": [CANARY]}, "/fill-mask"),
    body("blank target", 422, {"inputs": f"{CANARY} <mask>", "targets": [" "]}, "/fill-mask"),
    with_field("labels", [CANARY]),
    with_field("labels", ["SYMPTOM", CANARY]),
    with_field("model", CANARY, status=404),
    with_field("model", f"fake:{CANARY}", status=404),
    with_field("model", "fake:2", status=404),
    with_field("model", "fake:", status=404),
    with_field("model", f"../{CANARY}", status=404),
    with_field("head", "vector"),
    with_field("dimensions", 9, path="/embed"),
    body("too many characters", 413, {"inputs": CANARY * 201}),
    body("too many windows", 413, {"inputs": f"{CANARY} " * 180}),
    body("over the model's length", 413, {"inputs": f"{CANARY} " * 20, "overflow": "refuse"}),
    body("over the byte limit", 413, {"inputs": CANARY * 2500}),
]

NOT_HTTP_AS_WE_SPEAK_IT = [
    headed("no content type", 415, Content_Type=""),
    headed("text", 415, Content_Type="text/plain"),
    headed("form", 415, Content_Type="application/x-www-form-urlencoded"),
    headed("multipart", 415, Content_Type="multipart/form-data; boundary=canari1931"),
    headed("XML", 415, Content_Type="application/xml"),
    headed("almost JSON", 415, Content_Type="application/jsonp"),
    headed("JSON lines", 415, Content_Type="application/x-ndjson"),
    headed("latin-1 JSON", 415, Content_Type="application/json; charset=latin-1"),
    headed("a canary as type", 415, Content_Type=CANARY),
    headed("said to be gzip", 400, Content_Encoding="gzip"),
    *(headed(coding, 415, Content_Encoding=coding) for coding in ("br", "deflate", "gzip, gzip", "identity, gzip")),
    headed("a canary as encoding", 415, Content_Encoding=CANARY),
    *(
        headed(f"timeout {value!r}", 422, X_Request_Timeout=value)
        for value in ("", "0", "-1", "nan", "inf", "1e3", "soon", "1,5", " 5", CANARY, "+5", "5.", "0.0")
    ),
    *(Bad(name=f"{method} on a task", status=405, method=method) for method in ("GET", "PUT", "PATCH", "DELETE", "HEAD")),
    Bad(name="POST on the models", status=405, path="/models"),
    body("a field by the name of a form", 422, {"inputs": TEXT, "<source>": CANARY}),
    body("a document's field by the name of a form", 422, {"inputs": [{"text": TEXT, "<pairs>": 1}]}),
    Bad(name="unknown method", status=405, method="CANARI1931"),
    *(
        Bad(name=f"route {path[:30]}", status=404, path=path, method=method, headers={})
        for path in (
            f"/{CANARY}",
            "/ner/",
            "//ner",
            "/NER",
            f"/ner/{CANARY}",
            "/%00",
            "/..%2fetc%2fpasswd",
            "/similarities",
        )
        for method in ("POST", "GET")
    ),
    Bad(name="unknown model", status=404, path=f"/models/{CANARY}", method="GET", headers={}),
    Bad(name="unknown version", status=404, path="/models/fake:9", method="GET", headers={}),
]


OTHERS = ("/embed", "/classify", "/fill-mask", "/tokenize")
EVERYWHERE = (*OTHERS, *PAIRED)

ON_OTHER_ROUTES = [
    *(
        with_field("inputs", value, path=path)
        for path in OTHERS
        for value in (None, True, 3, {}, {"text": TEXT}, [], [[TEXT]], [None])
    ),
    *(with_field("inputs", [{"text": TEXT, CANARY: CANARY}], path=path) for path in OTHERS),
    *(with_field("inputs", [{"text": TEXT, "id": 3}], path=path) for path in OTHERS),
    *(with_field("inputs", [TEXT] * 4, path=path) for path in OTHERS),
    *(
        with_field(name, CANARY, path=path)
        for path in EVERYWHERE
        for name in ("overflow", "truncate_side", "priority", "on_error")
    ),
    *(with_field("offsets", value, path=path) for path in EVERYWHERE for value in (CANARY, 16, None)),
    *(with_field("head", value, path=path) for path in EVERYWHERE for value in (3, "", [CANARY])),
    *(with_field("model", value, path=path) for path in EVERYWHERE for value in (3, "", {CANARY: CANARY})),
    *(with_field(CANARY, CANARY, path=path) for path in EVERYWHERE),
    *(body(f"{path} {value!r}", 422, value, path) for path in EVERYWHERE for value in (None, 3, CANARY, [TEXT])),
    *(
        Bad(name=f"{method} {path}", status=405, method=method, path=path)
        for path in EVERYWHERE
        for method in ("GET", "PUT", "DELETE")
    ),
    *(Bad(name=f"no body on {path}", status=400, path=path) for path in EVERYWHERE),
    *(
        Bad(name=f"POST {path}", status=405, path=path)
        for path in ("/livez", "/readyz", "/health", "/metrics", "/usage", "/docs")
    ),
    with_field("labels", [CANARY], path="/embed"),
    with_field("pooling", "cls", path="/classify"),
    with_field("aggregation", "simple", path="/fill-mask"),
    with_field("dimensions", 4, path="/tokenize"),
    with_field("redact", True, path="/classify"),
    with_field("min_score", 0.5, path="/embed"),
    with_field("targets", [CANARY], path="/ner"),
]
