/** An element as it stands in the text: its name, attributes in order, and what is in it. */
export interface Element {
  readonly name: string;
  readonly attributes: readonly (readonly [string, string])[];
  readonly children: readonly (Element | string)[];
}

const entities: Readonly<Record<string, string>> = { amp: "&", lt: "<", gt: ">", quot: '"', "#39": "'" };

/** Where HTML takes `/>`; of any other element it would be taken for a start. */
const voidElements = ["meta"];

/**
 * Reads a document that is valid as HTML and well-formed as XML at once, so that every parser sees the same in it: quoted
 * attributes, every element closed, no `<` or `&` that is not markup, only characters that XML has, no comments, no CDATA, no
 * processing instructions. Throws at the first thing that is otherwise. It shares no code with what writes documents.
 */
export function parseStrict(document: string): Element {
  const doctype = "<!DOCTYPE html>\n";
  if (!document.startsWith(doctype)) throw new Error("no doctype");
  const odd = /[^\t\n\u0020-\u007e\u00a0-\ud7ff\ue000-\ufffd\u{10000}-\u{10ffff}]/u.exec(document);
  if (odd !== null) throw new Error(`a character that has no place in a document at ${odd.index}`);
  const root = new Reader(document, doctype.length).whole();
  if (root.name !== "html") throw new Error("the root is not html");
  return root;
}

class Reader {
  readonly #text: string;
  #at: number;

  constructor(text: string, at: number) {
    this.#text = text;
    this.#at = at;
  }

  whole(): Element {
    const root = this.#element();
    if (this.#text.slice(this.#at).trim() !== "") throw this.#error("something after the root");
    return root;
  }

  #element(): Element {
    const [, name = ""] = this.#take(/<([a-z][a-z0-9]*)/y, "a start of an element");
    const attributes: [string, string][] = [];
    for (;;) {
      const found = this.#find(/\s+([a-z][a-z-]*)="([^"<]*)"/y);
      if (found === undefined) break;
      const [, attribute = "", value = ""] = found;
      if (attributes.some(([other]) => other === attribute)) throw this.#error(`${attribute} twice`);
      attributes.push([attribute, this.#decoded(value)]);
    }
    if (voidElements.includes(name)) {
      this.#take(/\/>/y, `the end of ${name}`);
      return { name, attributes, children: [] };
    }
    this.#take(/>/y, `the end of the start of ${name}`);
    const children: (Element | string)[] = [];
    for (;;) {
      const text = this.#find(/[^<]+/y)?.[0];
      if (text !== undefined) children.push(this.#decoded(text));
      if (this.#text.startsWith("</", this.#at)) break;
      children.push(this.#element());
    }
    const [, closed] = this.#take(/<\/([a-z][a-z0-9]*)>/y, `the end of ${name}`);
    if (closed !== name) throw this.#error(`${closed} closed where ${name} was open`);
    return { name, attributes, children };
  }

  #decoded(text: string): string {
    return text.replace(/&([^;]{0,8};?)/g, (_, entity: string) => {
      const character = entity.endsWith(";") ? entities[entity.slice(0, -1)] : undefined;
      if (character === undefined) throw this.#error(`& that begins no entity: ${entity}`);
      return character;
    });
  }

  #find(pattern: RegExp): RegExpExecArray | undefined {
    pattern.lastIndex = this.#at;
    const found = pattern.exec(this.#text);
    if (found === null) return undefined;
    this.#at = pattern.lastIndex;
    return found;
  }

  #take(pattern: RegExp, what: string): RegExpExecArray {
    const found = this.#find(pattern);
    if (found === undefined) throw this.#error(`no ${what}`);
    return found;
  }

  #error(what: string): Error {
    return new Error(`${what} at ${this.#at}: ${JSON.stringify(this.#text.slice(this.#at, this.#at + 60))}`);
  }
}

/** The elements alone, with their attributes: what a text that broke out would change. */
export function skeletonOf({ name, attributes, children }: Element): string {
  const inside = children.flatMap((child) => (typeof child === "string" ? [] : [skeletonOf(child)]));
  return `<${name}${attributes.map(([key, value]) => ` ${key}=${value}`).join("")}>${inside.join("")}</${name}>`;
}

/** What is to be read, element by element. */
export function textsOf({ children }: Element): readonly string[] {
  return children.flatMap((child) => (typeof child === "string" ? [child] : textsOf(child)));
}

/** Every element, from the root on. */
export function elementsOf(element: Element): readonly Element[] {
  return [element, ...element.children.flatMap((child) => (typeof child === "string" ? [] : elementsOf(child)))];
}
