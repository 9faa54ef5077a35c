import { type ErrorDetails, FarshoreError, Forbidden, InvalidInput, Transient } from "#core/errors.ts";

/** The caller isn't known, or may not do this. */
const refusals = new Set([
  "AccessDenied",
  "AccessDeniedException",
  "AllAccessDisabled",
  "CredentialsProviderError",
  "ExpiredToken",
  "ExpiredTokenException",
  "Forbidden",
  "IncompleteSignature",
  "InvalidAccessKeyId",
  "InvalidClientTokenId",
  "InvalidSignatureException",
  "InvalidToken",
  "MissingAuthenticationToken",
  "MissingAuthenticationTokenException",
  "NotAuthorized",
  "RequestTimeTooSkewed",
  "SignatureDoesNotMatch",
  "TokenProviderError",
  "TokenRefreshRequired",
  "UnauthorizedAccess",
  "UnrecognizedClientException",
]);
/** The site's key is off, gone or not for this caller: every service has its own name for that. */
const keyRefusals = /^kms.*(denied|disabled|invalid|notfound)/i;
/**
 * What the site is made of isn't there: the bucket, the table, a state machine. Nothing of what a caller asked for is missing, and
 * a table that is being restored comes back: a gateway must wait, not give its session up.
 */
const absences = new Set(["NoSuchBucket", "ResourceNotFoundException", "StateMachineDoesNotExist", "ResourceNotFound"]);
/**
 * Refused for what is wrong in the request itself. Other replies of 400 are not: bytes damaged on the way, throttling, a
 * transaction that met others until its tries were used up.
 */
const invalid = /^(Validation|Malformed|EntityToo|KeyTooLong|Idempotent|Invalid(?!Digest|Part))/;

/** What an SDK error says of itself; all of it is the service's text and none of it is trusted to be there. */
export interface AwsFault {
  readonly name: string;
  readonly message: string;
  readonly status: number | undefined;
  /** Tries that the SDK made. */
  readonly attempts: number;
}

type FarshoreErrorClass = new (message: string, details: ErrorDetails, options: ErrorOptions) => FarshoreError;

/** The parts of an error that decide what it means. */
export function faultOf(error: unknown): AwsFault {
  if (!(error instanceof Error)) return { name: "", message: String(error), status: undefined, attempts: 1 };
  const metadata = "$metadata" in error ? error.$metadata : undefined;
  return {
    name: error.name,
    message: error.message,
    status: numberIn(metadata, "httpStatusCode"),
    attempts: numberIn(metadata, "attempts") ?? 1,
  };
}

function numberIn(value: unknown, name: string): number | undefined {
  const found = typeof value === "object" && value !== null ? Reflect.get(value, name) : undefined;
  return typeof found === "number" ? found : undefined;
}

/**
 * Any error of an AWS call as one of core/errors.ts. `action` is the IAM action and `on` what it was done to, as in
 * `s3:PutObject` on `arn:aws:s3:::bucket/key`. What no line here foresees is `Transient`, as the ports say.
 */
export function awsTrouble(error: unknown, action: string, on: string): FarshoreError {
  if (error instanceof FarshoreError) return error;
  const { name, message, status } = faultOf(error);
  const details = { action, on, aws: name, awsStatus: status ?? 0 };
  const said = `${action} on ${on}: ${name}${message === "" || message === name ? "" : `: ${message}`}`;
  const made = (type: FarshoreErrorClass, text: string) => new type(text, details, { cause: error });
  if (absences.has(name))
    return made(
      Transient,
      `${said}; the site is not deployed here, or not whole: deploy infra/ again, and see that AWS_REGION is the site's`,
    );
  if (name === "RequestTimeTooSkewed" || /signature (has )?expired|not yet current/i.test(message))
    return made(Forbidden, `${said}; the clock of this machine is wrong: set it by NTP`);
  if (keyRefusals.test(name))
    return made(Forbidden, `${said}; the site's key must be enabled, and its policy let this process's role use it`);
  if (refusals.has(name) || status === 401 || status === 403)
    return made(
      Forbidden,
      `${said}; the role that this process runs as lacks ${action} there, or a policy of the resource or its key denies it`,
    );
  return made(invalid.test(name) ? InvalidInput : Transient, said);
}
