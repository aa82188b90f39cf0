"""Image's form of a fault: HTML for browsers and the undecided, JSON or plain text for who asks for it."""

import html
from http import HTTPStatus

from flask import Response, request

from protonova.companions.fault import Fault
from protonova.companions.identity import fault as identity_fault
from protonova.companions.web import answer


def written(fault: Fault) -> Response:
    if fault.status == 401:
        return identity_fault.written(fault)
    title = HTTPStatus(fault.status).phrase
    heading = f"{fault.status} {title}"
    accepted = request.headers.get("Accept", "*/*")
    if "html" in accepted or "*/*" in accepted:
        text = (
            f"<html>\n <head>\n  <title>{heading}</title>\n </head>\n <body>\n  <h1>{heading}</h1>\n"
            f"  {html.escape(fault.message)}<br /><br />\n\n\n </body>\n</html>"
        )
        response = Response(text, fault.status, mimetype="text/html")
    elif "json" in accepted:
        response = answer({"message": fault.message, "code": heading, "title": title}, fault.status)
    else:
        response = Response(f"{heading}\n\n{fault.message}\n\n", fault.status, mimetype="text/plain")
    response.headers.update(fault.headers)
    return response
