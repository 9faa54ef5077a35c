import { type DestinationStream, destination, type Logger, pino } from "pino";
import type { Log, LogFields } from "#core/ports.ts";
import { cleanFields } from "../log-fields.ts";

export type LogLevel = "debug" | "info" | "warn" | "error" | "silent";

export interface LogOptions {
  readonly level?: LogLevel;
  /** Fields of every line, such as the site's name. */
  readonly fields?: LogFields;
  /** Where the lines go; standard error by default, for standard output belongs to a command's answer. */
  readonly stream?: DestinationStream;
}

/** A Log that writes one JSON line an event through pino; what looks like a credential by name or form is hidden at any depth. */
export function createLog(options: LogOptions = {}): Log {
  const logger = pino(
    { level: options.level ?? "info", base: null, messageKey: "event", timestamp: pino.stdTimeFunctions.isoTime },
    options.stream ?? destination({ dest: 2, sync: true }),
  );
  return new PinoLog(logger.child(cleanFields(options.fields ?? {})));
}

class PinoLog implements Log {
  readonly #logger: Logger;

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  debug(event: string, fields: LogFields = {}): void {
    if (this.#logger.isLevelEnabled("debug")) this.#logger.debug(cleanFields(fields), event);
  }
  info(event: string, fields: LogFields = {}): void {
    if (this.#logger.isLevelEnabled("info")) this.#logger.info(cleanFields(fields), event);
  }
  warn(event: string, fields: LogFields = {}): void {
    this.#logger.warn(cleanFields(fields), event);
  }
  error(event: string, fields: LogFields = {}): void {
    this.#logger.error(cleanFields(fields), event);
  }
}
