import type { SeededRandom } from "#adapters/faulty/seeded-random.ts";
import { Transient } from "#core/errors.ts";
import type { Clock } from "#core/ports.ts";
import type { SiteTransport, WireReply, WireRequest } from "../../gateway/control/http-transport.ts";

/** What a link does to messages, as shares of them. */
export interface Weather {
  readonly losesRequest: number;
  readonly losesReply: number;
  /** The request comes a second time, up to `lateMsMax` after the first. */
  readonly duplicates: number;
  readonly delayMsMax: number;
}

export const fairWeather: Weather = { losesRequest: 0, losesReply: 0, duplicates: 0, delayMsMax: 4 };

/** How late a duplicate may come: after a seal, or a failover. */
const lateMsMax = 20_000;

/** A request that was answered, and whose answer came; `again` for the second copy of one, whose answer nobody hears. */
export interface Answered {
  readonly method: string;
  readonly path: string;
  readonly status: number;
  /** When the site got it, in true time. */
  readonly beganAt: number;
  readonly again: boolean;
}

export type Serve = (request: WireRequest) => Promise<WireReply>;

/** The network between a gateway and a site. It has no life of its own: what was sent arrives, also when its sender has died. */
export class Link {
  weather: Weather = fairWeather;
  cut = false;
  /** Requests sent so far. */
  requests = 0;
  readonly #clock: Clock;
  readonly #random: SeededRandom;
  readonly #serve: Serve;
  readonly #noted: (answer: Answered) => void;

  /** `serve` rejects when nobody listens; `noted` is told of every answer. */
  constructor(clock: Clock, random: SeededRandom, serve: Serve, noted: (answer: Answered) => void) {
    this.#clock = clock;
    this.#random = random;
    this.#serve = serve;
    this.#noted = noted;
  }

  readonly transport: SiteTransport = {
    send: (request) => this.#send(request),
    close: () => Promise.resolve(),
  };

  async #send(request: WireRequest): Promise<WireReply> {
    this.requests += 1;
    // What is sent is what it was when it was sent: its sender may use the memory again.
    const body = request.body instanceof Uint8Array ? request.body.slice() : request.body;
    const over = new AbortController();
    const late = this.#clock.sleep(request.timeoutMs, over.signal).then(
      () => "late" as const,
      () => "late" as const,
    );
    try {
      const reply = await Promise.race([this.#carry({ ...request, body }), late, abortOf(request.signal)]);
      if (reply === "late") throw new Transient("no answer in time");
      return reply;
    } finally {
      over.abort(new Error("answered"));
    }
  }

  async #carry(request: WireRequest): Promise<WireReply> {
    const { weather } = this;
    const wait = (): Promise<void> => this.#clock.sleep(this.#random.below(weather.delayMsMax + 1));
    const [lost, twice, unanswered] = [weather.losesRequest, weather.duplicates, weather.losesReply].map((share) =>
      this.#random.chance(share),
    );
    await wait();
    if (lost === true || this.cut) return never;
    if (twice === true) this.#again(request);
    const beganAt = this.#clock.now();
    const reply = await this.#serve(request);
    await wait();
    if (unanswered === true || this.cut) return never;
    this.#noted({ ...askedOf(request), status: reply.statusCode, beganAt, again: false });
    return reply;
  }

  #again(request: WireRequest): void {
    const later = this.#clock.sleep(this.#random.below(lateMsMax));
    later
      .then(() => this.#serve(request))
      .then(
        (reply) =>
          this.#noted({ ...askedOf(request), status: reply.statusCode, beganAt: this.#clock.now(), again: true }),
        () => undefined,
      );
  }
}

const never = new Promise<never>(() => undefined);

/** Rejects with the signal's reason. */
function abortOf(signal: AbortSignal | undefined): Promise<never> {
  if (signal === undefined) return never;
  return new Promise((_, reject) => {
    if (signal.aborted) reject(signal.reason);
    signal.addEventListener("abort", () => reject(signal.reason), { once: true });
  });
}

const askedOf = ({ method, url }: WireRequest) => ({ method, path: new URL(url).pathname });
