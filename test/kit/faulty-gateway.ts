/**
 * A gateway over disks whose weather changes all the time: `node faulty-gateway.ts CONFIG SEED`. SIGHUP leaves them only what needs no
 * sync: writes that fail, wholly or in part. SIGUSR2 cuts the power: of what wasn't flushed a random part is forgotten, and the
 * process ends as by SIGKILL.
 */
import { FileDevice } from "../../gateway/disk/file-device.ts";
import { runGateway } from "../../gateway/main.ts";
import { type DiskFaults, FaultyDevice, noFaults } from "./faulty-device.ts";
import { SeededRandom } from "./seeded-random.ts";

const [configFile = "", seed = "0"] = process.argv.slice(2);
const random = new SeededRandom(Number(seed));
const disks: FaultyDevice[] = [];
let bright = false;

const writesFail: Partial<DiskFaults> = { writeFails: 0.04, writeIsPartial: 0.06, writeIsShort: 0.06 };
/**
 * What may go wrong in this process's life, each of it in about half of the lives: a sync after a failed flush or read mends what
 * was done wrong after a failed write or a crash, so that all of it at once would hide more than it shows.
 */
const storm: Partial<DiskFaults> = {
  ...(random.chance(0.6) ? writesFail : {}),
  ...(random.chance(0.4) ? { flushFails: 0.3 } : {}),
  ...(random.chance(0.4) ? { readFails: 0.03 } : {}),
};
/** Always: completions in another order, some of them late by milliseconds. */
const drizzle: DiskFaults = { ...noFaults, isLate: 0.6, isSlow: 0.05 };

/** Half the time a disk is only late: else no sync would ever end, and no checkpoint would be made. */
function changeWeather(disk: FaultyDevice): void {
  if (bright) return;
  Object.assign(disk.faults, drizzle, random.chance(0.5) ? storm : {});
  setTimeout(() => changeWeather(disk), 100 + random.below(400));
}

process.on("SIGHUP", () => {
  bright = true;
  for (const disk of disks) Object.assign(disk.faults, drizzle, writesFail);
});
process.on("SIGUSR2", () => {
  void Promise.all(disks.map((disk) => disk.crash())).then(() => process.kill(process.pid, "SIGKILL"));
});

const gateway = await runGateway({
  configFile,
  openDisk: (volume) => {
    const disk = new FaultyDevice(
      FileDevice.open(volume.path, { sectorBytes: volume.sectorBytes }),
      random.below(2 ** 31),
    );
    disks.push(disk);
    changeWeather(disk);
    return disk;
  },
});
process.once("SIGTERM", () => void gateway.close());
