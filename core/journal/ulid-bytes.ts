import { InvalidInput } from "#core/errors.ts";

const alphabet = "0123456789abcdefghjkmnpqrstvwxyz";
const ulidPattern = /^[0-7][0-9a-hjkmnp-tv-z]{25}$/;

/** True for a ULID as Farshore writes it: 26 lower-case characters. */
export function isUlid(text: string): boolean {
  return ulidPattern.test(text);
}

/** The 128 bits of a lower-case ULID, most significant first. Throws `InvalidInput`. */
export function ulidToBytes(text: string): Uint8Array {
  if (!isUlid(text)) throw new InvalidInput(`not a lower-case ULID: "${text.slice(0, 64)}"`);
  const bytes = new Uint8Array(16);
  let bits = 0;
  let held = 0;
  let at = 15;
  for (let place = 25; place >= 0; place -= 1) {
    bits |= alphabet.indexOf(text.charAt(place)) << held;
    held += 5;
    while (held >= 8 && at >= 0) {
      bytes[at] = bits & 0xff;
      at -= 1;
      bits >>>= 8;
      held -= 8;
    }
  }
  return bytes;
}

/** The lower-case ULID of 16 bytes at `at`. */
export function ulidFromBytes(bytes: Uint8Array, at = 0): string {
  let text = "";
  let bits = 0;
  let held = 0;
  for (let place = at + 15; place >= at; place -= 1) {
    bits |= (bytes[place] ?? 0) << held;
    held += 8;
    while (held >= 5) {
      text = alphabet.charAt(bits & 31) + text;
      bits >>>= 5;
      held -= 5;
    }
  }
  return alphabet.charAt(bits & 31) + text;
}

/** When the ULID was made, milliseconds since the epoch by its maker's clock: its first ten characters. */
export function ulidTime(text: string): number {
  let time = 0;
  for (const character of text.slice(0, 10)) time = time * 32 + alphabet.indexOf(character);
  return time;
}
