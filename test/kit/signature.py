"""The SigV4 signature that botocore gives a request: JSON {method, url, headers, body, region, accessKeyId, secretAccessKey} on standard input."""

import json
import sys

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

ask = json.load(sys.stdin)
auth = SigV4Auth(Credentials(ask["accessKeyId"], ask["secretAccessKey"]), "lambda", ask["region"])
request = AWSRequest(ask["method"], ask["url"], headers=ask["headers"], data=ask["body"])
request.context["timestamp"] = ask["headers"]["x-amz-date"]
text = auth.string_to_sign(request, auth.canonical_request(request))
print(auth.signature(text, request), end="")
