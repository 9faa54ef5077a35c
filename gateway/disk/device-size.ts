import * as fs from "node:fs";

/** Where Linux describes a block device; elsewhere there is no such folder. */
export function sysfsOfDevice(rdev: number): string {
  // The encoding of dev_t in glibc's gnu_dev_major and gnu_dev_minor, for numbers below 2^32.
  const major = (rdev >>> 8) & 0xfff;
  const minor = (rdev & 0xff) | ((rdev >>> 12) & 0xfff00);
  return `/sys/dev/block/${major}:${minor}`;
}

/** Size of a block device in bytes: `fstat` says 0 for it. Linux tells it in sysfs (in units of 512 bytes); elsewhere reads find the end. */
export function deviceBytes(fd: number, rdev: number): number {
  const sysfs = `${sysfsOfDevice(rdev)}/size`;
  if (fs.existsSync(sysfs)) {
    return Number(fs.readFileSync(sysfs, "utf8").trim()) * 512;
  }
  return probeBytes((offset) => fs.readSync(fd, sector, 0, sector.length, offset) === sector.length);
}

const sector = Buffer.alloc(512);

/** The end of a device by bisection over sectors; `readable(offset)` reads one sector there. A read that fails counts as beyond the end. */
export function probeBytes(readable: (offset: number) => boolean): number {
  const present = (index: number): boolean => {
    try {
      return readable(index * 512);
    } catch {
      return false;
    }
  };
  if (!present(0)) {
    return 0;
  }
  let last = 0;
  let beyond = 1;
  // Device sizes stay below 2^53 bytes, the largest offset that a number holds.
  while (beyond < 2 ** 44 && present(beyond)) {
    last = beyond;
    beyond *= 2;
  }
  while (beyond - last > 1) {
    const middle = last + Math.floor((beyond - last) / 2);
    if (present(middle)) {
      last = middle;
    } else {
      beyond = middle;
    }
  }
  return (last + 1) * 512;
}
