import { createRequire } from "node:module";
import { describe, expect, it } from "vitest";
import { z } from "zod";
import { errorNames } from "#core/errors.ts";
import { files, read } from "./sources.ts";

/** asl-validator ships no types; it adds fields to what it checks, so it gets a copy. */
const validate: (
  definition: unknown,
  options: { readonly checkPaths: boolean; readonly checkArn: boolean },
) => {
  readonly isValid: boolean;
  readonly errors: readonly unknown[];
} = createRequire(import.meta.url)("asl-validator");

/** Step Functions' own error names (Amazon States Language, appendix A, and the developer guide's "Handling errors"). */
const statesErrors = [
  "States.ALL",
  "States.TaskFailed",
  "States.Timeout",
  "States.HeartbeatTimeout",
  "States.Permissions",
  "States.DataLimitExceeded",
  "States.ExceedToleratedFailureThreshold",
  "States.ItemReaderFailed",
  "States.ResultWriterFailed",
  "States.BranchFailed",
  "States.NoChoiceMatched",
  "States.IntrinsicFailure",
  "States.ParameterPathFailure",
  "States.ResultPathMatchFailure",
  "States.Runtime",
];
/**
 * What the Lambda integration itself throws ("Handling Lambda service exceptions"). A function that ran out of its time or memory
 * is Lambda.Unknown there; newer runtimes say Sandbox.Timedout of the former and Runtime.ExitError of a process that ended before it
 * answered, which are `errorType` of a function's reply too.
 */
const lambdaErrors = [
  "Lambda.ServiceException",
  "Lambda.AWSLambdaException",
  "Lambda.SdkClientException",
  "Lambda.ClientExecutionTimeoutException",
  "Lambda.TooManyRequestsException",
  "Lambda.Unknown",
  "Runtime.ExitError",
  "Sandbox.Timedout",
];
const knownErrors = new Set([...errorNames, ...statesErrors, ...lambdaErrors]);

const folders = [...new Set(files.flatMap((path) => /^workflows\/([^/]+)\//.exec(path)?.[1] ?? []))].filter(
  (name) => name !== "shared",
);
const documents = files.filter((path) => path.endsWith(".asl.json"));

/** Every error name that a document's Retry and Catch blocks match, and that its Fail states end with. */
function errorNamesIn(value: unknown): string[] {
  if (Array.isArray(value)) return value.flatMap(errorNamesIn);
  if (typeof value !== "object" || value === null) return [];
  return Object.entries(value).flatMap(([name, inner]) => {
    if (name === "ErrorEquals" && Array.isArray(inner)) return inner.map(String);
    if (name === "Error" && typeof inner === "string") return [inner];
    return errorNamesIn(inner);
  });
}

const documentSchema = z.object({
  States: z.record(z.string(), z.object({ Resource: z.string().optional(), Retry: z.unknown().optional() })),
});
const statesOf = (document: unknown) => documentSchema.parse(document).States;

describe("house: workflows/", () => {
  it("has one document and one README in each folder, named as the folder", () => {
    for (const name of folders) {
      const own = documents.filter((path) => path.startsWith(`workflows/${name}/`));
      expect(own).toEqual([`workflows/${name}/${name}.asl.json`]);
      expect(files).toContain(`workflows/${name}/README.md`);
    }
    expect(documents.filter((path) => !folders.includes(path.split("/")[1] ?? ""))).toEqual([]);
  });

  it("holds only documents that asl-validator accepts", () => {
    for (const path of documents) {
      const { isValid, errors } = validate(JSON.parse(read(path)), { checkPaths: true, checkArn: true });
      expect(errors, path).toEqual([]);
      expect(isValid, path).toBe(true);
    }
  });

  it("matches and ends with no error name that nobody throws", () => {
    for (const path of documents) {
      const unknown = errorNamesIn(JSON.parse(read(path))).filter((name) => !knownErrors.has(name));
      expect(unknown, path).toEqual([]);
    }
  });

  it("calls a function again that the service could not run, that ran out of its time or memory, or whose process died", () => {
    for (const path of documents)
      for (const [name, { Resource, Retry }] of Object.entries(statesOf(JSON.parse(read(path))))) {
        if (Resource?.startsWith("arn:aws:states:::lambda:invoke") !== true) continue;
        expect(errorNamesIn(Retry), `${path} ${name}`).toEqual(expect.arrayContaining(lambdaErrors));
      }
  });

  it("catches States.ALL alone and last, as Step Functions demands", () => {
    const lists = (value: unknown): unknown[][] => {
      if (Array.isArray(value)) return value.flatMap(lists);
      if (typeof value !== "object" || value === null) return [];
      return Object.entries(value).flatMap(([name, inner]) =>
        (name === "Retry" || name === "Catch") && Array.isArray(inner) ? [inner, ...lists(inner)] : lists(inner),
      );
    };
    for (const path of documents)
      for (const list of lists(JSON.parse(read(path)))) {
        const matched = list.map((entry) => errorNamesIn(entry));
        for (const [place, names] of matched.entries())
          if (names.includes("States.ALL"))
            expect([path, names, place]).toEqual([path, ["States.ALL"], matched.length - 1]);
      }
  });

  it("would be refused with a name that nobody throws, or a transition to nowhere", () => {
    const task = {
      Type: "Task",
      Resource: "arn:aws:states:::lambda:invoke",
      Catch: [{ ErrorEquals: ["Fencd"], Next: "End" }],
      Next: "End",
    };
    const document = { StartAt: "Try", States: { Try: task, End: { Type: "Fail", Error: "Nonsense" } } };
    expect(errorNamesIn(document).filter((name) => !knownErrors.has(name))).toEqual(["Fencd", "Nonsense"]);
    const lost = { StartAt: "Try", States: { Try: { ...task, Next: "Nowhere" } } };
    expect(validate(lost, { checkPaths: true, checkArn: true }).isValid).toBe(false);
    expect(validate(structuredClone(document), { checkPaths: true, checkArn: true }).errors).toEqual([]);
  });
});
