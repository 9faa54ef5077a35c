import middy from "@middy/core";
import type { Context } from "aws-lambda";
import { FarshoreError } from "#core/errors.ts";
import { errorReply, isOurFault } from "./error-reply.ts";
import type { HttpEvent, HttpResult } from "./http.ts";
import { dispatcher, type Route } from "./router.ts";
import { configuredSite } from "./site.ts";

export type HttpHandler = (event: HttpEvent, context: Context) => Promise<HttpResult>;

/** The Lambda behind a function URL: one line of log a request, every error as a reply, and the routes. */
export function httpHandler(name: string, routes: readonly Route[]): HttpHandler {
  const dispatch = dispatcher(routes);
  return middy<HttpEvent, HttpResult>()
    .use(requestLog(name))
    .handler((event: HttpEvent) => dispatch(event));
}

/** Batches come many a second and are told by their numbers elsewhere, so what went well is a debug line. */
function requestLog(name: string): middy.MiddlewareObj<HttpEvent, HttpResult> {
  const started = new WeakMap<HttpEvent, number>();
  const fields = (event: HttpEvent, status: number | undefined) => {
    const { clock } = configuredSite();
    const ms = Math.round(clock.monotonic() - (started.get(event) ?? clock.monotonic()));
    const { requestId, http } = event.requestContext;
    return { function: name, requestId, method: http.method, path: event.rawPath.slice(0, 300), status, ms };
  };
  return {
    before: ({ event }) => {
      started.set(event, configuredSite().clock.monotonic());
    },
    after: ({ event, response }) => {
      configuredSite().log.debug("request", fields(event, response?.statusCode));
    },
    onError: (request) => {
      const { event, error } = request;
      const reply = errorReply(error, event.requestContext.requestId);
      const { log } = configuredSite();
      const said = { ...fields(event, reply.statusCode), error: error instanceof Error ? error.name : "unknown" };
      if (isOurFault(error)) log.error("request-failed", { ...said, cause: error });
      else log.info("request-refused", { ...said, message: error instanceof FarshoreError ? error.message : "" });
      request.response = reply;
    },
  };
}
