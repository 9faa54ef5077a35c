/**
 * A gateway over disks whose weather changes all the time: `node faulty-gateway.ts CONFIG SEED`. SIGHUP calms the disks for good;
 * SIGUSR2 cuts the power: of what wasn't flushed a random part is forgotten, and the process ends as by SIGKILL.
 */
import { FileDevice } from "../../gateway/disk/file-device.ts";
import { runGateway } from "../../gateway/main.ts";
import { type DiskFaults, FaultyDevice, noFaults } from "./faulty-device.ts";
import { SeededRandom } from "./seeded-random.ts";

const [configFile = "", seed = "0"] = process.argv.slice(2);
const random = new SeededRandom(Number(seed));
const disks: FaultyDevice[] = [];
let calm = false;

/** Probabilities while it storms; a request of a guest or of the sync meets each of them. */
const storm: DiskFaults = {
  readFails: 0.02,
  writeFails: 0.04,
  writeIsPartial: 0.04,
  writeIsShort: 0.04,
  flushFails: 0.3,
  isLate: 0.6,
  isSlow: 0.1,
};
/** Half the time a disk is only late: else no sync would ever end, and no checkpoint would be made. */
const drizzle: DiskFaults = { ...noFaults, isLate: 0.6, isSlow: 0.05 };

function changeWeather(disk: FaultyDevice): void {
  if (calm) return;
  Object.assign(disk.faults, random.chance(0.5) ? drizzle : storm);
  setTimeout(() => changeWeather(disk), 100 + random.below(400));
}

process.on("SIGHUP", () => {
  calm = true;
  for (const disk of disks) Object.assign(disk.faults, noFaults);
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
