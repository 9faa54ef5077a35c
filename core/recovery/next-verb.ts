import type { Operation } from "#core/protection/operation.ts";

type EndError = NonNullable<Operation["error"]>;

const nextMark = " → ";

/** The error with what to do about it now; what an earlier attempt said to do is taken out. */
export function withNext({ name, message }: EndError, next: string): EndError {
  return { name, message: `${messageAndNext(message).message}${nextMark}${next}` };
}

/** An operation's error message apart from what it says to do next; that is empty when it says nothing. */
export function messageAndNext(whole: string): { readonly message: string; readonly next: string } {
  const [message = "", ...next] = whole.split(nextMark);
  return { message, next: next.join(nextMark) };
}
