"""`calibrate` with chunks so small that two processes have something to share; run under torchrun by the tests."""

import sys

import calibrate.fit
import calibrate.parts
import calibrate.reading
from calibrate.__main__ import main
from calibrate.flags import flags
from senbetsu.program import run

if __name__ == "__main__":
    calibrate.fit.CHUNK = calibrate.parts.CHUNK = calibrate.reading.CHUNK = 8
    given = flags().parse_args()
    sys.exit(run(lambda: main(given), "calibrate"))
