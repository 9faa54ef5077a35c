import type { Objects, Table } from "#core/ports.ts";

/** The port with some of its methods replaced; each is given the port's own. */
export function over<T extends object>(port: T, methods: Partial<T>): T {
  return new Proxy(port, {
    get(of, name) {
      const member = Reflect.get(Object.hasOwn(methods, name) ? methods : of, name);
      return typeof member === "function" ? member.bind(of) : member;
    },
  });
}

/** Somebody else's work, done once, just before the first object under `area` is put. */
export function beforePut(objects: Objects, area: string, work: () => Promise<unknown>): Objects {
  let done = false;
  return over(objects, {
    async put(key, body, options) {
      if (!done && key.startsWith(`${area}/`)) {
        done = true;
        await work();
      }
      return objects.put(key, body, options);
    },
  });
}

/** Somebody else's work, done once, just before the table is asked the `nth` time for the manifest's number. */
export function beforeLook(table: Table, nth: number, work: () => Promise<unknown>): Table {
  let looks = 0;
  return over(table, {
    async get(key) {
      if (key.sk === "manifest") looks += 1;
      if (key.sk === "manifest" && looks === nth) await work();
      return table.get(key);
    },
  });
}
