import { InvalidInput } from "#core/errors.ts";

const durationMs: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };
const byteUnits: Readonly<Record<string, number>> = {
  B: 1,
  KiB: 2 ** 10,
  MiB: 2 ** 20,
  GiB: 2 ** 30,
  TiB: 2 ** 40,
};

/** "250ms", "5s", "10m", "24h", "30d" or "0" in milliseconds. Throws `InvalidInput`. */
export function parseDuration(text: string): number {
  if (text === "0") return 0;
  const [, digits, unit] = /^(\d{1,12})(ms|s|m|h|d)$/.exec(text) ?? [];
  const factor = unit === undefined ? undefined : durationMs[unit];
  if (digits === undefined || factor === undefined) {
    throw new InvalidInput(`"${text}" is not a duration; write a whole number with ms, s, m, h or d, such as 5m`);
  }
  return Number(digits) * factor;
}

/** "512B", "64KiB", "10GiB", "2TiB" in bytes. Throws `InvalidInput`. */
export function parseBytes(text: string): number {
  const [, digits, unit] = /^(\d{1,15})(B|KiB|MiB|GiB|TiB)$/.exec(text) ?? [];
  const factor = unit === undefined ? undefined : byteUnits[unit];
  const bytes = Number(digits) * (factor ?? Number.NaN);
  if (!Number.isSafeInteger(bytes)) {
    throw new InvalidInput(`"${text}" is not a size; write a whole number with B, KiB, MiB, GiB or TiB, such as 10GiB`);
  }
  return bytes;
}

const rateUnits: Readonly<Record<string, number>> = {
  ...{ kB: 1e3, MB: 1e6, GB: 1e9 },
  ...{ KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30 },
};

/** "20MB/s", "500KiB/s" in bytes a second. Throws `InvalidInput`. */
export function parseRate(text: string): number {
  const [, digits, unit] = /^(\d{1,6})(kB|MB|GB|KiB|MiB|GiB)\/s$/.exec(text) ?? [];
  const rate = Number(digits) * (unit === undefined ? Number.NaN : (rateUnits[unit] ?? Number.NaN));
  if (rate > 0) return rate;
  throw new InvalidInput(
    `"${text}" is not a rate; write a whole number with kB/s, MB/s, GB/s or KiB/s, such as 20MB/s`,
  );
}

/** 20000000 → "20 MB/s"; for people only. */
export function formatRate(bytesPerSecond: number): string {
  const [factor, unit] = bytesPerSecond >= 1e6 ? [1e6, "MB/s"] : [1e3, "kB/s"];
  return `${Math.round((bytesPerSecond / factor) * 10) / 10} ${unit}`;
}

/** 1536 → "1.5 KiB"; for people only. */
export function formatBytes(bytes: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
  let value = bytes;
  let index = 0;
  while (value >= 1024 && index < units.length - 1) {
    value /= 1024;
    index += 1;
  }
  return `${index === 0 ? value : value.toFixed(value < 10 ? 2 : 1)} ${units[index]}`;
}

/** 83000 → "1m 23s"; for people only. */
export function formatDuration(ms: number): string {
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 60_000) return `${(ms / 1000).toFixed(1)} s`;
  const seconds = Math.round(ms / 1000);
  const [d, h, m, s] = [
    Math.floor(seconds / 86_400),
    Math.floor(seconds / 3600) % 24,
    Math.floor(seconds / 60) % 60,
    seconds % 60,
  ];
  return [d > 0 ? `${d}d` : "", h > 0 ? `${h}h` : "", m > 0 ? `${m}m` : "", d === 0 && s > 0 ? `${s}s` : ""]
    .filter((part) => part !== "")
    .join(" ");
}
