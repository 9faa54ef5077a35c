/** A piece of a document that was written as markup; whatever else comes into one is text. */
class Piece {
  readonly #text: string;

  constructor(text: string) {
    this.#text = text;
  }

  get text(): string {
    return this.#text;
  }
}
export type Markup = Piece;

export type Content = Markup | string | number | readonly Content[];

const entities: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#39;",
};

/** What XML has no place for, and what would let a text be shown in another order than it is stored in. */
const unshowable = /(?![\t\n])[\p{Cc}\p{Cs}\p{Noncharacter_Code_Point}\p{Bidi_Control}]/gu;

/** Text in which characters that no document can hold, or that reorder what is around them, are written as `\u{202e}`. */
export function showable(text: string): string {
  return text
    .replaceAll("\r\n", "\n")
    .replace(unshowable, (character) => `\\u{${character.codePointAt(0)?.toString(16)}}`);
}

function textOf(content: Content): string {
  if (content instanceof Piece) return content.text;
  if (typeof content === "number") return String(content);
  if (typeof content === "string")
    return showable(content).replace(/[&<>"']/g, (character) => entities[character] ?? "");
  return content.map(textOf).join("");
}

/**
 * Tag of a template that is markup, valid as HTML and well-formed as XML. What stands in its places is escaped, in an element's
 * text and in a quoted attribute alike, unless it came out of this tag itself: nothing else can make markup.
 */
export function markup(pieces: TemplateStringsArray, ...contents: readonly Content[]): Markup {
  return new Piece(pieces.map((piece, index) => piece + textOf(contents[index] ?? "")).join(""));
}
