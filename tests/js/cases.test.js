// @ts-check
// Run the cases under Node; tests/page/test_modules.py lays the files out.
import test from "node:test";
import { CASES } from "./cases.js";

for (const [name, check] of Object.entries(CASES)) test(name, check);
