import { handler as awaitDecision } from "../../functions/await-decision/handler.ts";
import { handler as beginOperation } from "../../functions/begin-operation/handler.ts";
import { handler as checkCommand } from "../../functions/check-command/handler.ts";
import { handler as endOperation } from "../../functions/end-operation/handler.ts";
import { handler as issueCommand } from "../../functions/issue-command/handler.ts";
import { handler as mintTerm } from "../../functions/mint-term/handler.ts";
import { handler as nextBootGroup } from "../../functions/next-boot-group/handler.ts";
import { handler as readDecision } from "../../functions/read-decision/handler.ts";
import { handler as recordFailure } from "../../functions/record-failure/handler.ts";
import { handler as resolveCheckpoint } from "../../functions/resolve-checkpoint/handler.ts";
import { handler as sealSessions } from "../../functions/seal-sessions/handler.ts";

/** The functions that the state machines invoke, by folder. */
export const siteFunctions: Readonly<Record<string, (event: unknown) => Promise<unknown>>> = {
  "await-decision": awaitDecision,
  "begin-operation": beginOperation,
  "check-command": checkCommand,
  "end-operation": endOperation,
  "issue-command": issueCommand,
  "mint-term": mintTerm,
  "next-boot-group": nextBootGroup,
  "read-decision": readDecision,
  "record-failure": recordFailure,
  "resolve-checkpoint": resolveCheckpoint,
  "seal-sessions": sealSessions,
};

const pascal = (folder: string): string =>
  folder
    .split("-")
    .map((word) => word.charAt(0).toUpperCase() + word.slice(1))
    .join("");

/** What the placeholders of the documents stand for at an embedded site: `IssueCommandFunctionArn` is `issue-command`. */
export const functionNames: Readonly<Record<string, string>> = Object.fromEntries(
  Object.keys(siteFunctions).map((folder) => [`${pascal(folder)}FunctionArn`, folder]),
);
