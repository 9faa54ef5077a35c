import validate from "asl-validator";

/** What the public validator of the States Language says of a document; undefined when it has nothing to say. */
export function validateAsl(document: unknown): string | undefined {
  // A copy: the validator writes defaults into what it is given.
  const result = validate(structuredClone(document), { checkPaths: true, checkArn: true });
  return result.isValid ? undefined : result.errorsText("\n");
}
