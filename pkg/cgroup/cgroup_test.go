package cgroup_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/poterne/poterne/pkg/cgroup"
)

func TestMemoryLimit(t *testing.T) {
	for name, c := range map[string]struct {
		files map[string]string
		want  int64 // 0: none
	}{
		"no groups":   {nil, 0},
		"no limit":    {map[string]string{"proc/self/cgroup": "0::/a\n", "sys/fs/cgroup/a/memory.max": "max\n"}, 0},
		"its own":     {map[string]string{"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/b/memory.max": "1000\n", "sys/fs/cgroup/a/memory.max": "max\n"}, 1000},
		"around it":   {map[string]string{"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/b/memory.max": "1000\n", "sys/fs/cgroup/a/memory.max": "900\n"}, 900},
		"a container": {map[string]string{"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "1000\n"}, 1000},
		"another's":   {map[string]string{"proc/self/cgroup": "0::/../a\n", "sys/fs/cgroup/memory.max": "1000\n"}, 1000},
		"version 1":   {map[string]string{"proc/self/cgroup": "5:cpu:/x\n4:memory:/a\n0::/\n", "sys/fs/cgroup/memory/a/memory.limit_in_bytes": "1000\n", "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n"}, 1000},
		"rubbish":     {map[string]string{"proc/self/cgroup": ":::\n0\n4:memory:x\n\n", "sys/fs/cgroup/memory/memory.limit_in_bytes": "1000\n"}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir() + "/"
			for path, text := range c.files {
				if err := os.MkdirAll(filepath.Dir(root+path), 0o700); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(root+path, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if got, ok := cgroup.MemoryLimit(root); got != c.want || ok != (c.want != 0) {
				t.Errorf("the limit is %d, %t, want %d", got, ok, c.want)
			}
		})
	}
}
