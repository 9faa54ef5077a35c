"""Runs state machines on moto's interpreter with mocked Lambda functions and virtual time.

Standard input: JSON, a list of {"document", "input", "answers"}; see test/workflows/script.ts. Standard output: a JSON list
of what was observed, in order.
"""

import functools
import importlib
import json
import logging
import pkgutil
import sys
import uuid

import moto.stepfunctions.parser
import virtualtime
from moto.stepfunctions.parser.asl.component.state.exec.state_task import lambda_eval_utils
from moto.stepfunctions.parser.asl.eval.callback.callback import CallbackOutcomeFailure, CallbackOutcomeSuccess
from moto.stepfunctions.parser.asl.parse.asl_parser import AmazonStateLanguageParser
from moto.stepfunctions.parser.models import StepFunctionsParserBackend

# The payload's field that carries a task token, by a convention of workflows/.
TOKEN_FIELD = "taskToken"


def without_causes(value):
    """Causes are prose of the interpreter: they don't tell calls apart. Neither does a token."""
    if isinstance(value, dict):
        return {name: without_causes(inner) for name, inner in value.items() if name not in (TOKEN_FIELD, "Cause")}
    return [without_causes(inner) for inner in value] if isinstance(value, list) else value


def call_key(name, payload):
    """What tells one task's calls from another's: the function and its payload. Equal to `callKey` of script.ts."""
    return name + " " + json.dumps(without_causes(payload), separators=(",", ":"), sort_keys=True, ensure_ascii=False)


class Functions:
    """The mocked functions of one run: they answer as the script says and keep what they were called with."""

    def __init__(self, answers):
        self._answers = answers
        self._used = {}
        self.calls = []

    def invoke(self, env, parameters, region, state_credentials):
        """Takes the place of moto's call of Lambda; leaves the response on the environment's stack."""
        world = virtualtime.here()
        payload = json.loads(parameters.get("Payload", b"{}"))
        name = parameters["FunctionName"]
        token = payload.get(TOKEN_FIELD) if isinstance(payload, dict) else None
        shown = {**payload, TOKEN_FIELD: "TOKEN"} if token is not None else payload
        state = env.states.context_object.context_object_data["State"]["Name"]
        self.calls.append({"atMs": round(world.now * 1000), "state": state, "name": name, "payload": shown})
        answer = self._next(name, call_key(name, payload))
        for beat in answer.get("beatsAfterMs", []) if token is not None else []:
            self._later(beat, lambda: env.callback_pool_manager.heartbeat(token))
        if token is not None and "token" in answer:
            self._answer_token(env, token, answer["token"])
        if "afterMs" not in answer:
            world.block([])
        virtualtime.sleep(answer["afterMs"] / 1000)
        if "error" in answer:
            error = {"errorType": answer["error"], "errorMessage": answer["message"], "trace": []}
            raise lambda_eval_utils.LambdaFunctionErrorException(
                "Unhandled", json.dumps(error, separators=(",", ":"), ensure_ascii=False)
            )
        env.stack.append({"ExecutedVersion": "$LATEST", "Payload": answer["result"], "StatusCode": 200})

    def _next(self, name, key):
        answers = self._answers.get(key) or self._answers.get(name)
        if answers is None:
            return {"afterMs": 0, "error": "NoAnswer", "message": key}
        used = self._used.get(key, 0)
        self._used[key] = used + 1
        return answers[min(used, len(answers) - 1)]

    def _answer_token(self, env, token, wake):
        if "error" in wake:
            outcome = CallbackOutcomeFailure(callback_id=token, error=wake["error"], cause=wake["cause"])
        else:
            outcome = CallbackOutcomeSuccess(callback_id=token, output=json.dumps(wake["output"]))
        self._later(wake["afterMs"], lambda: env.callback_pool_manager.notify(token, outcome))

    @staticmethod
    def _later(after_ms, act):
        def work():
            virtualtime.sleep(after_ms / 1000)
            act()

        virtualtime.here().spawn(work)


def observe(backend, machine_arn, script):
    """One execution, from its start to its end."""
    world = virtualtime.World()
    functions = Functions(script["answers"])
    lambda_eval_utils.execute_lambda_function_integration = functions.invoke
    execution = backend.start_execution(machine_arn, name=str(uuid.uuid4()), execution_input=json.dumps(script["input"]))
    problem = None
    try:
        world.run()
    except virtualtime.Hangs as hangs:
        problem = str(hangs)
    events = execution.exec_worker.env.event_manager.get_event_history()
    return {
        "status": problem or execution.status,
        "error": execution.error,
        "cause": execution.cause,
        "output": execution.output if execution.status == "SUCCEEDED" else None,
        "endedAtMs": round(world.now * 1000),
        "states": [
            event["stateEnteredEventDetails"]["name"] for event in events if "stateEnteredEventDetails" in event
        ],
        "events": [event["type"].value for event in events],
        "calls": functions.calls,
    }


def main():
    # Failures that a script asks for are no news.
    logging.disable(logging.CRITICAL)
    scripts = json.load(sys.stdin)
    package = moto.stepfunctions.parser
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        try:
            importlib.import_module(module.name)
        except ImportError:
            # moto carries a few files that need what it doesn't carry; it never loads them itself.
            continue
    virtualtime.install([module for name, module in sys.modules.items() if name.startswith(package.__name__)])
    # A document is read once: what it is read into holds nothing of an execution.
    AmazonStateLanguageParser.parse = staticmethod(functools.cache(AmazonStateLanguageParser.parse))
    backend = StepFunctionsParserBackend("us-east-1", "123456789012")
    machines = {}
    observed = []
    for script in scripts:
        document = json.dumps(script["document"])
        if document not in machines:
            machine = backend.create_state_machine(f"m{len(machines)}", document, "arn:aws:iam::123456789012:role/mock")
            machines[document] = machine.arn
        observed.append(observe(backend, machines[document], script))
    json.dump(observed, sys.stdout)


main()
