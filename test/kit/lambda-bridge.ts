import { createServer, type IncomingMessage, type Server } from "node:http";
import type { AddressInfo } from "node:net";

export type BridgedFunctions = Readonly<Record<string, (payload: unknown) => Promise<unknown>>>;

/** Functions of a test, called over HTTP: `POST /<name>` with the payload answers `{result}` or `{error: {name, message}}`. */
export class LambdaBridge {
  functions: BridgedFunctions = {};
  readonly #server: Server;

  private constructor() {
    this.#server = createServer((request, response) => {
      void this.#answer(request).then((answer) => response.end(JSON.stringify(answer)));
    });
  }

  static async open(): Promise<LambdaBridge> {
    const bridge = new LambdaBridge();
    await new Promise<void>((resolve) => bridge.#server.listen(0, "127.0.0.1", resolve));
    return bridge;
  }

  get url(): string {
    const { port } = this.#server.address() as AddressInfo;
    return `http://127.0.0.1:${port}`;
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  async #answer(request: IncomingMessage): Promise<object> {
    try {
      const parts: Buffer[] = [];
      for await (const part of request) parts.push(Buffer.from(part));
      const call = this.functions[(request.url ?? "/").slice(1)];
      if (call === undefined) throw new Error(`no function ${request.url}`);
      return { result: (await call(JSON.parse(Buffer.concat(parts).toString()))) ?? null };
    } catch (error) {
      const { name, message } = error instanceof Error ? error : new Error(String(error));
      return { error: { name, message } };
    }
  }
}
