"""
Serves MiniStack on a free port of 127.0.0.1, for ministack.ts beside it. Prints {"port": N} once it answers.

It ends, with the processes of its Lambda functions, when standard input closes: whoever started it can't leave it behind.
What AWS does and this version of MiniStack doesn't, and what the deployed site can't do without, is mended here. Each
mending refuses to go on when the code it was written for has changed.
"""

import asyncio
import json
import os
import re
import signal
import socket
import threading
import urllib.error
import urllib.parse
import urllib.request

# A group of its own: the functions' processes are in it, so one signal ends them all.
os.setpgid(0, 0)


def end_with_standard_input():
    while os.read(0, 4096):
        pass
    os.killpg(0, signal.SIGKILL)


threading.Thread(target=end_with_standard_input, daemon=True).start()

# The socket is bound before MiniStack is loaded, which wants to know its port. Connections inherit TCP_NODELAY from it;
# without it an answer waits 40 ms for the client's delayed acknowledgement.
listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
listener.bind(("127.0.0.1", 0))
port = listener.getsockname()[1]
os.environ["GATEWAY_PORT"] = str(port)
os.environ["MINISTACK_HOST"] = "127.0.0.1"

import ministack.app as gateway  # noqa: E402  (reads the environment above)
from hypercorn.asyncio import serve  # noqa: E402
from hypercorn.config import Config  # noqa: E402
from ministack.core import iam_actions, iam_evaluator, lambda_runtime  # noqa: E402
from ministack.services import iam, lambda_svc, stepfunctions, sts  # noqa: E402


def replaced_once(text, old, new):
    if text.count(old) != 1:
        raise SystemExit(f"this MiniStack is not the one that scripts/local-aws/serve-ministack.py mends: {old!r} is not in it once")
    return text.replace(old, new)


def tell_error_names():
    """
    A Node function's error keeps its name (AWS: errorType), which Retry and Catch match; here all are Runtime.HandlerError. What has
    none was not thrown by the function: its process ended before it answered (AWS: Runtime.ExitError).
    """
    lambda_runtime._NODEJS_WORKER_SCRIPT = replaced_once(
        lambda_runtime._NODEJS_WORKER_SCRIPT, 'trace: err.stack || ""', 'trace: err.stack || "", name: err.name'
    )
    thrown = threading.local()
    invoke = lambda_runtime.Worker.invoke
    execute = lambda_svc._execute_function_warm

    def invoke_noting_name(*args, **kwargs):
        result = invoke(*args, **kwargs)
        thrown.name = result.get("name", "Runtime.ExitError") if isinstance(result, dict) else None
        return result

    def execute_telling_name(*args, **kwargs):
        thrown.name = None
        result = execute(*args, **kwargs)
        body = result.get("body")
        if thrown.name and result.get("error") and body.get("errorType") == "Runtime.HandlerError":
            body["errorType"] = thrown.name
        return result

    lambda_runtime.Worker.invoke = invoke_noting_name
    lambda_svc._execute_function_warm = execute_telling_name


def lose_only_the_worker_that_failed():
    """
    A process that can't be started, or is gone before it is asked, fails its own invocation. MiniStack ends all processes of that
    function then, in the midst of what they do; which fails their invocations, which end all processes.
    """
    invoke = lambda_runtime.Worker.invoke

    def invoke_alone(worker, *args, **kwargs):
        try:
            return invoke(worker, *args, **kwargs)
        except Exception as error:
            process, worker._proc = worker._proc, None
            if process is not None:
                process.kill()
                process.wait()
            return {"status": "error", "error": str(error)}

    lambda_runtime.Worker.invoke = invoke_alone


def tell_callers():
    """A function URL with IAM tells the function who calls (AWS: requestContext.authorizer.iam); here nothing does."""
    build = lambda_svc._build_function_url_event

    def build_with_caller(*args, **kwargs):
        event = build(*args, **kwargs)
        if "authorizer" in event["requestContext"]:
            raise RuntimeError("this MiniStack names the caller itself: take the mending out of scripts/local-aws/serve-ministack.py")
        access_key = gateway.extract_access_key_id(event["headers"], {})
        identity = iam_evaluator.resolve_caller_identity(access_key)
        if identity is not None:
            event["requestContext"]["authorizer"] = {
                "iam": {
                    "accessKey": access_key,
                    "accountId": identity["accountId"],
                    "callerId": identity["userId"],
                    "cognitoIdentity": None,
                    "principalOrgId": None,
                    "userArn": identity["userArn"],
                    "userId": identity["userId"],
                }
            }
        return event

    lambda_svc._build_function_url_event = build_with_caller


def give_reachable_function_urls():
    """A function's URL is one that answers on this machine, where *.on.aws does not lead; MiniStack serves that path anyway."""
    create = lambda_svc._create_function_url_config
    id_of = lambda_svc._function_url_id
    place = f"http://127.0.0.1:{port}/_aws/lambda-url/"

    def create_reachable(func_name, data, qualifier):
        status, headers, body = create(func_name, data, qualifier)
        if status >= 400:
            return status, headers, body
        config = lambda_svc._function_urls[lambda_svc._url_config_key(func_name, qualifier)]
        config["FunctionUrl"] = f"{place}{id_of(config['FunctionUrl'])}/"
        return status, headers, json.dumps(config).encode()

    lambda_svc._create_function_url_config = create_reachable
    lambda_svc._function_url_id = lambda url: url.removeprefix(place).rstrip("/")


def count_as_tls():
    """Policies that refuse what comes without TLS are evaluated, and nothing here speaks it: requests count as if they had."""
    pin = gateway.pin_request_origin
    gateway.pin_request_origin = lambda address, _secure: pin(address, True)


def tell_conditions_of_puts():
    """Bucket policies can ask for If-None-Match by two keys of a request that MiniStack leaves unset."""
    context_of = iam_actions.s3_service_context

    def context_with_conditions(iam_action, query_params, path="", headers=None):
        context = context_of(iam_action, query_params, path, headers)
        if iam_action == "s3:PutObject":
            for name in ("if-none-match", "if-match"):
                if (headers or {}).get(name):
                    context[f"s3:{name}"] = headers[name]
            part = "uploads" in (query_params or {}) or "partNumber" in (query_params or {})
            context["s3:ObjectCreationOperation"] = "false" if part else "true"
        return context

    iam_actions.s3_service_context = context_with_conditions


def tell_machines_of_tokens():
    """Who answers a task needs a permission on its state machine; MiniStack looks for one on everything."""
    machines = {}
    here = threading.local()
    execute = stepfunctions._execute_task
    wait = stepfunctions._invoke_with_callback
    resource_of = iam_actions.extract_resource_arn

    def execute_noting_machine(state_def, raw_input, execution, ctx):
        here.machine = execution["stateMachineArn"]
        return execute(state_def, raw_input, execution, ctx)

    def wait_noting_machine(resource, input_data, token, state_def):
        machines[token] = here.machine
        return wait(resource, input_data, token, state_def)

    def resource_of_token(service, method, path, headers, body, *rest):
        token = iam_actions._safe_json_field(body, "taskToken") if service == "states" else None
        return machines.get(token, "*") if token else resource_of(service, method, path, headers, body, *rest)

    stepfunctions._execute_task = execute_noting_machine
    stepfunctions._invoke_with_callback = wait_noting_machine
    iam_actions.extract_resource_arn = resource_of_token


def fail_tasks_that_wait_for_a_token():
    """A task whose function fails before it could hand its token on fails by that error; MiniStack waits for the token until the time is up."""
    here = threading.local()
    wait = stepfunctions._invoke_with_callback
    call = stepfunctions._call_lambda

    def wait_noting_token(resource, input_data, token, state_def):
        here.token = token
        try:
            return wait(resource, input_data, token, state_def)
        finally:
            here.token = None

    def call_failing_token(func_ref, event):
        try:
            return call(func_ref, event)
        except stepfunctions._ExecutionError as error:
            waiting = stepfunctions._task_tokens.get(getattr(here, "token", None))
            if waiting is not None and not waiting["event"].is_set():
                waiting["error"] = {"Error": error.error, "Cause": error.cause}
                waiting["event"].set()
            raise

    stepfunctions._invoke_with_callback = wait_noting_token
    stepfunctions._call_lambda = call_failing_token


def let_functions_be_killed():
    """
    POST /_local/kill?functions=REGEX&afterMs=N&withinMs=N kills the process of the next invocation that matches, once it has run so
    long, if it is no cold start: the caller sees what it sees on AWS when a runtime is killed. Answers {"killed": the function's name,
    or null when there was none within that time}.
    """
    asks = []
    lock = threading.Lock()
    invoke = lambda_runtime.Worker.invoke
    answer_request = gateway.app

    def strike(worker, process, ask):
        with lock:
            if ask not in asks or process.poll() is not None:
                return
            asks.remove(ask)
        process.kill()
        ask["killed"] = worker.func_name
        ask["done"].set()

    def invoke_mortal(worker, *args, **kwargs):
        with lock:
            ask = next((one for one in asks if one["functions"].search(worker.func_name)), None)
        process = worker._proc
        if ask is None or process is None:
            return invoke(worker, *args, **kwargs)
        timer = threading.Timer(ask["after"], strike, [worker, process, ask])
        timer.start()
        try:
            return invoke(worker, *args, **kwargs)
        finally:
            timer.cancel()

    def kill(query):
        ask = {
            "functions": re.compile(query["functions"][0]),
            "after": int(query["afterMs"][0]) / 1000,
            "done": threading.Event(),
            "killed": None,
        }
        with lock:
            asks.append(ask)
        ask["done"].wait(int(query["withinMs"][0]) / 1000)
        with lock:
            if ask in asks:
                asks.remove(ask)
        return {"killed": ask["killed"]}

    async def app_with_kills(scope, receive, send):
        if scope["type"] != "http" or scope["path"] != "/_local/kill":
            return await answer_request(scope, receive, send)
        query = urllib.parse.parse_qs(scope["query_string"].decode())
        body = json.dumps(await asyncio.to_thread(kill, query)).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    lambda_runtime.Worker.invoke = invoke_mortal
    gateway.app = app_with_kills


def know_callers_of_neighbours():
    """
    AWS knows every account's credentials; of two MiniStacks each knows its own. Those of one folder (NEIGHBOURS) ask each other
    whose a key is, at every request: the session and its role, with its policies as they stand, so that both sides of a call
    between accounts are evaluated.
    """
    folder = os.environ.get("NEIGHBOURS")
    if folder is None:
        return
    open(os.path.join(folder, str(port)), "w").close()
    place = "/_neighbour/caller/"
    signed_by = re.compile(rb"Credential=(ASIA[0-9A-Z]+)/")
    strangers = set()
    answer_request = gateway.app

    def caller(key):
        session = sts._sessions.get(key)
        if session is None or key in strangers:
            return None
        _, _, _, _, account, name = session["Arn"].split(":", 5)
        role = iam._roles.get_scoped(account, None, name.split("/")[1]) or {}
        attached = {arn: iam_evaluator._resolve_managed_policy_document(arn, account) for arn in role.get("AttachedPolicies", [])}
        policies = {**(role.get("InlinePolicies") or {}), **attached}
        return {"session": session, "account": account, "role": name.split("/")[1], "policies": policies}

    def learn(key):
        for other in os.listdir(folder):
            if other == str(port):
                continue
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{other}{place}{key}", timeout=5) as reply:
                    known = json.load(reply)
            except (urllib.error.URLError, OSError):
                continue
            role = {"RoleName": known["role"], "InlinePolicies": known["policies"], "AttachedPolicies": []}
            iam._roles.set_scoped(known["account"], None, known["role"], role)
            strangers.add(key)
            sts.register_session(key, known["session"])
            return

    async def app_with_neighbours(scope, receive, send):
        if scope["type"] == "http" and scope["path"].startswith(place):
            known = caller(scope["path"].removeprefix(place))
            body = json.dumps(known, default=str).encode()
            headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
            await send({"type": "http.response.start", "status": 404 if known is None else 200, "headers": headers})
            await send({"type": "http.response.body", "body": body})
            return
        if scope["type"] == "http":
            found = signed_by.search(dict(scope["headers"]).get(b"authorization", b""))
            key = found.group(1).decode() if found else None
            if key and (key not in sts._sessions or key in strangers):
                await asyncio.to_thread(learn, key)
        await answer_request(scope, receive, send)

    gateway.app = app_with_neighbours


def wait_less_for_logs():
    """A function that logs nothing is answered for after 5 ms of silence, not 50."""
    drain = lambda_runtime.Worker._drain_stderr_bounded
    if drain.__defaults__ != (0.05, 0.005, 0.25):
        raise SystemExit("this MiniStack waits otherwise for a function's log: look at scripts/local-aws/serve-ministack.py")
    drain.__defaults__ = (0.005, 0.005, 0.25)


async def main():
    config = Config()
    config.bind = [f"fd://{listener.fileno()}"]
    config.keep_alive_timeout = 75
    config.loglevel = os.environ.get("LOG_LEVEL", "INFO")
    server = asyncio.create_task(serve(gateway.app, config))
    while not server.done() and not await answers():
        await asyncio.sleep(0.02)
    if not server.done():
        print(json.dumps({"port": port}), flush=True)
    await server


async def answers():
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /_ministack/ready HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n")
        status = await reader.readline()
        writer.close()
        return b" 200 " in status
    except OSError:
        return False


lose_only_the_worker_that_failed()
tell_error_names()
tell_callers()
give_reachable_function_urls()
count_as_tls()
tell_conditions_of_puts()
tell_machines_of_tokens()
fail_tasks_that_wait_for_a_token()
let_functions_be_killed()
know_callers_of_neighbours()
wait_less_for_logs()
asyncio.run(main())
