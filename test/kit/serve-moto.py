"""
Serves Step Functions as moto interprets the States Language, in real time, on a free port of 127.0.0.1, for
adapters/aws/workflows.test.ts. Prints {"port": N}. A task that calls a Lambda function is posted to $BRIDGE_URL/<name>
instead. It ends when standard input closes: whoever started it can't leave it behind.
"""

import datetime
import json
import logging
import os
import sys
import threading
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import boto3
from botocore.exceptions import ClientError, ParamValidationError
from moto import mock_aws
from moto.stepfunctions.parser.asl.component.state.exec.state_task import lambda_eval_utils

REGION = os.environ["AWS_REGION"]

def invoke(env, parameters, region, state_credentials):
    """Takes the place of moto's call of Lambda; leaves the response on the environment's stack."""
    request = urllib.request.Request(os.environ["BRIDGE_URL"] + "/" + parameters["FunctionName"], parameters["Payload"])
    with urllib.request.urlopen(request) as response:
        answer = json.load(response)
    if "error" in answer:
        error = {"errorType": answer["error"]["name"], "errorMessage": answer["error"]["message"]}
        raise lambda_eval_utils.LambdaFunctionErrorException("Unhandled", json.dumps(error))
    env.stack.append({"ExecutedVersion": "$LATEST", "Payload": answer["result"], "StatusCode": 200})


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        operation = self.headers["x-amz-target"].split(".")[1]
        try:
            answer = client._make_api_call(operation, body)
            answer.pop("ResponseMetadata", None)
            self.reply(200, answer)
        except ClientError as error:
            self.reply(400, {"__type": error.response["Error"]["Code"], "message": str(error)})
        except ParamValidationError as error:
            self.reply(400, {"__type": "ValidationException", "message": str(error)})

    def reply(self, status, answer):
        body = json.dumps(answer, default=datetime.datetime.timestamp).encode()
        self.send_response(status)
        self.send_header("content-type", "application/x-amz-json-1.0")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def end_with_standard_input():
    sys.stdin.buffer.read()
    os._exit(0)


# Else it tells of every state that fails.
logging.disable(logging.CRITICAL)
lambda_eval_utils.execute_lambda_function_integration = invoke
threading.Thread(target=end_with_standard_input, daemon=True).start()
with mock_aws(config={"stepfunctions": {"execute_state_machine": True}}):
    client = boto3.client("stepfunctions", region_name=REGION)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(json.dumps({"port": server.server_port}), flush=True)
    server.serve_forever()
