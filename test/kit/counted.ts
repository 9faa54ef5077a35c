import type { Objects, Table } from "#core/ports.ts";

/** Notes every call of a port, with the number of a transaction's actions. */
export function counted<T extends Objects | Table>(port: T, calls: string[]): T {
  return new Proxy(port, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name);
      if (typeof value !== "function") return value;
      return (...args: unknown[]) => {
        const actions = name === "transact" && Array.isArray(args[0]) ? ` ${args[0].length}` : "";
        calls.push(`${String(name)}${actions}`);
        return Reflect.apply(value, target, args);
      };
    },
  });
}
