"""How many threads: the cgroup's quota, the affinity mask and OMP_NUM_THREADS; never more than any of them allows. And how much memory."""
import json
import os
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from support import BUILD, Case, launch


class Cgroup(Case):
    def quota(self, group, files, what="cgroup"):
        """files: path below sys/fs/cgroup -> text"""
        root = self.path("root%d" % len(os.listdir(self.folder.name)))
        os.makedirs(os.path.join(root, "proc/self"))
        with open(os.path.join(root, "proc/self/cgroup"), "w") as f:
            f.write(group)
        for name, text in files.items():
            path = os.path.join(root, "sys/fs/cgroup", name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "w") as f:
                f.write(text)
        return int(self.good("rt_probe", what, root))

    def test_version_2(self):
        self.assertEqual(self.quota("0::/\n", {"cpu.max": "max 100000\n"}), 0)
        self.assertEqual(self.quota("0::/\n", {"cpu.max": "200000 100000\n"}), 2)
        self.assertEqual(self.quota("0::/\n", {"cpu.max": "150000 100000\n"}), 2)
        self.assertEqual(self.quota("0::/\n", {"cpu.max": "1000 100000\n"}), 1)
        self.assertEqual(self.quota("0::/\n", {}), 0)
        self.assertEqual(self.quota("0::/\n", {"cpu.max": "x"}), 0)
        self.assertEqual(self.quota("0::/\n", {"cpu.max": "9223372036854775807 1"}), 4096)

    def test_the_tightest_ancestor_counts(self):
        files = {"a/cpu.max": "300000 100000", "a/b/cpu.max": "max 100000", "a/b/c/cpu.max": "500000 100000"}
        self.assertEqual(self.quota("0::/a/b/c\n", files), 3)
        self.assertEqual(self.quota("0::/a/b/c\n", {**files, "cpu.max": "100000 100000"}), 1)
        self.assertEqual(self.quota("0::/not/visible/here\n", {"cpu.max": "400000 100000"}), 4)

    def test_version_1(self):
        def v1(quota, folder="cpu,cpuacct/docker/x"):
            return {folder + "/cpu.cfs_quota_us": quota, folder + "/cpu.cfs_period_us": "100000\n"}

        group = "12:memory:/docker/x\n4:cpu,cpuacct:/docker/x\n1:name=systemd:/docker/x\n"
        self.assertEqual(self.quota(group, v1("-1\n")), 0)
        self.assertEqual(self.quota(group, v1("250000\n")), 3)
        self.assertEqual(self.quota(group, v1("250000\n", "cpu")), 3)
        self.assertEqual(self.quota("3:cpuset:/\n", v1("250000\n", "cpuset")), 0)

    def test_memory(self):
        """What is left of the tightest group; pages of files go when they must."""
        none = 2 ** 63 - 1
        two = {"memory.max": "1000000\n", "memory.current": "300000\n",
               "memory.stat": "anon 100000\nfile 190000\nshmem 5000\ninactive_file 50000\nactive_file 100000\nslab 3\n"}
        self.assertEqual(self.quota("0::/\n", two, "memory"), 850000)
        self.assertEqual(self.quota("0::/\n", {**two, "memory.high": "400000\n"}, "memory"), 250000)
        self.assertEqual(self.quota("0::/\n", {**two, "memory.max": "max\n"}, "memory"), none)
        self.assertEqual(self.quota("0::/\n", {**two, "memory.max": "1\n"}, "memory"), 0)
        below = {"a/" + name: text for name, text in two.items()}
        self.assertEqual(self.quota("0::/a\n", {**below, "memory.max": "500000", "memory.current": "300000"}, "memory"), 200000)
        one = {"memory/x/memory.limit_in_bytes": "900000\n", "memory/x/memory.usage_in_bytes": "500000\n",
               "memory/x/memory.stat": "inactive_file 1\ntotal_inactive_file 20000\ntotal_active_file 30000\n"}
        self.assertEqual(self.quota("9:memory:/x\n4:cpu:/x\n", one, "memory"), 450000)
        self.assertEqual(self.quota("4:cpu:/x\n", one, "memory"), none)
        self.assertEqual(int(self.good("rt_probe", "memory", self.path("nothing"))), none)
        here = int(self.good("rt_probe", "memory", ""))
        with open("/proc/meminfo") as f:
            self.assertTrue(0 <= here <= int(f.readline().split()[1]) * 1024)

    def test_no_proc(self):
        self.assertEqual(int(self.good("rt_probe", "cgroup", self.path("nothing"))), 0)


class Threads(Case):
    def default(self, omp, **more):
        code, out, _ = self.run_program("rt_probe", "threads", env={"OMP_NUM_THREADS": omp, **more})
        self.assertEqual(code, 0)
        return int(out)  # libgomp complains about bad values on stderr

    def test_environment(self):
        most = self.default("")
        self.assertLessEqual(most, len(os.sched_getaffinity(0)))
        self.assertEqual(self.default("1"), 1)
        self.assertEqual(self.default("1,4"), 1)
        for text in ("1000", "0", "-3", "many"):
            self.assertEqual(self.default(text), most)

    def test_openmp_has_the_say(self):
        most, first = self.default(""), min(os.sched_getaffinity(0))
        self.assertEqual(self.default("", OMP_PROC_BIND="true", OMP_PLACES="threads"), most)
        self.assertEqual(self.default("", OMP_PROC_BIND="true", OMP_PLACES="{%d}" % first), 1)
        self.assertEqual(self.default("", OMP_THREAD_LIMIT="1"), 1)

    def test_affinity(self):
        cpu = str(min(os.sched_getaffinity(0)))
        r = subprocess.run(["taskset", "-c", cpu, *launch([os.path.join(BUILD, "rt_probe"), "threads"])], capture_output=True)
        self.assertEqual(r.stdout, b"1\n")

    def test_auto(self):
        for threads in ("auto", 1, 3):
            row = json.loads(self.good("fake", "bench", "--json", "--iters", 1, "--threads", threads))
            self.assertEqual(row["threads"], self.default("2") if threads == "auto" else threads)
        code, _, err = self.run_program("fake", "bench", "--threads", "all")
        self.assertEqual((code, err.splitlines()[0].split(": ", 1)[1]), (2, "--threads wants a whole number or auto, not 'all'"))
        for command in ("bench", "serve"):
            code, _, err = self.run_program("fake", command, "--threads", 0)
            self.assertEqual(code, 2)
            self.assertIn("--threads must be from 1 to", err)

    def test_more_threads_than_cpus_still_progress(self):
        self.good("fake", "bench", "--threads", 16, "--batch", 8, "--iters", 50)


if __name__ == "__main__":
    unittest.main()
