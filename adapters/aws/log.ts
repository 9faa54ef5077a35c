import { Logger } from "@aws-lambda-powertools/logger";
import type { Log, LogFields } from "#core/ports.ts";
import { cleanFields } from "../log-fields.ts";

export interface AwsLogOptions {
  readonly level: "debug" | "info" | "warn" | "error" | "silent";
  readonly siteName: string;
}

/** Names that a line of the logger has by itself; a field of that name gets an underscore behind it. */
const reserved = new Set(["level", "message", "sampling_rate", "service", "timestamp"]);

/** A Log that writes one JSON line an event where Lambda takes it to CloudWatch; what looks like a credential is hidden. */
export function createAwsLog({ level, siteName }: AwsLogOptions): Log {
  const logLevel = level === "silent" ? "SILENT" : level;
  const logger = new Logger({ logLevel, serviceName: "farshore", persistentKeys: { site: siteName } });
  return {
    debug: (event, fields = {}) => logger.debug(event, attributes(fields)),
    info: (event, fields = {}) => logger.info(event, attributes(fields)),
    warn: (event, fields = {}) => logger.warn(event, attributes(fields)),
    error: (event, fields = {}) => logger.error(event, attributes(fields)),
  };
}

function attributes(fields: LogFields): Record<string, unknown> {
  const named = Object.entries(cleanFields(fields)).map(([name, value]) => [
    reserved.has(name) ? `${name}_` : name,
    value,
  ]);
  return Object.fromEntries(named);
}
