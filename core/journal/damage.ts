import { Corrupt, FarshoreError, NotFound, Transient } from "#core/errors.ts";

/**
 * True when a stored object is itself at fault: changed, gone, or on a medium that doesn't give its bytes back. Another try hardly
 * reads it, so that whoever can do without it goes on without.
 */
export function isDamage(error: unknown): error is FarshoreError {
  return error instanceof Corrupt || error instanceof NotFound || isMediumError(error);
}

/** True of the `Transient` by which `Objects.get` says that the medium failed to read the object, and not the way to it. */
function isMediumError(error: unknown): error is Transient {
  return error instanceof Transient && error.details["medium"] === true;
}

/** What a check that reads whole objects says of one, by what its reading threw; undefined when that says nothing of the object. */
export function damageOf(error: unknown): FarshoreError | undefined {
  if (isMediumError(error))
    return new Corrupt(`it could not be read: ${error.message}`, error.details, { cause: error });
  return error instanceof FarshoreError && error.kind !== "retryable" ? error : undefined;
}
