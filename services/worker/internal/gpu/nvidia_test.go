package gpu

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const twoGPUs = `0, GPU-aaaa, NVIDIA H100 80GB HBM3, 81559, 1024, 80020, 37, 41, 0
1, GPU-bbbb, NVIDIA H100 80GB HBM3, 81559, 0, 81044, [N/A], 39, 2
`

// smi is a program that answers as nvidia-smi does.
func smi(t *testing.T, gpus, apps, end string) *NvidiaSMI {
	t.Helper()
	path := filepath.Join(t.TempDir(), "nvidia-smi")
	script := "#!/bin/sh\ncase $1 in\n--query-gpu=*) cat <<'X'\n" + gpus + "X\n;;\n--query-compute-apps=*) cat <<'X'\n" + apps + "X\n;;\nesac\n" + end + "\n"
	if err := os.WriteFile(path, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	return &NvidiaSMI{Path: path}
}

func TestNvidiaSMI(t *testing.T) {
	s := smi(t, twoGPUs, "GPU-bbbb, 4242, 2048\nGPU-bbbb, 77, [N/A]\nGPU-gone, 1, 1\n", "")
	got, err := s.Devices(t.Context())
	if err != nil || len(got) != 2 {
		t.Fatalf("got %v, %v", got, err)
	}
	a, b := got[0], got[1]
	if a.Pool() != "gpu0" || a.UUID != "GPU-aaaa" || a.Name != "NVIDIA H100 80GB HBM3" || a.TotalBytes != 81559<<20 ||
		a.UsedBytes != 1024<<20 || a.FreeBytes != 80020<<20 || a.Utilization != 37 || a.Temperature != 41 || a.ECCErrors != 0 || len(a.Processes) != 0 {
		t.Errorf("the first: %+v", a)
	}
	if b.Utilization != Unknown || b.ECCErrors != 2 || len(b.Processes) != 2 || b.Processes[0] != (Process{4242, 2048 << 20}) || b.Processes[1].Bytes != Unknown {
		t.Errorf("the second: %+v", b)
	}
	s.Visible = "GPU-bb"
	if got, err := s.Devices(t.Context()); err != nil || len(got) != 1 || got[0].Index != 1 {
		t.Errorf("only the second: %v, %v", got, err)
	}
	s.Visible = "0"
	if got, err := s.Devices(t.Context()); err != nil || len(got) != 1 || got[0].Index != 0 {
		t.Errorf("only the first: %v, %v", got, err)
	}
}

func TestNvidiaSMIFails(t *testing.T) {
	for name, tt := range map[string]struct{ gpus, apps, end, want string }{
		"no driver":      {"NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.\n", "", "exit 9", "couldn't communicate"},
		"another table":  {"0, GPU-a, H100\n", "", "", "3 cells, not 9"},
		"a broken table": {strings.Replace(twoGPUs, "0,", "x,", 1), "", "", `the index "x"`},
		"endless":        {"", "", "yes | head -c 2000000", "more than 1048576 bytes"},
	} {
		if got, err := smi(t, tt.gpus, tt.apps, tt.end).Devices(t.Context()); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, %v", name, got, err)
		}
	}
	for name, gpus := range map[string]string{"none": "No devices were found\n", "nothing": "", "fell off the bus": "0, GPU-a, [Unknown Error], [N/A], [N/A], [N/A], [N/A], [N/A], [N/A]\n"} {
		if got, err := smi(t, gpus, "", "").Devices(t.Context()); err != nil || len(got) != 0 {
			t.Errorf("%s: got %v, %v", name, got, err)
		}
	}
	if _, err := (&NvidiaSMI{Path: "/no/such/program"}).Devices(t.Context()); err == nil {
		t.Error("a program that is not there answers")
	}
}

func TestNvidiaSMIHangs(t *testing.T) {
	s := smi(t, "", "", "exec sleep 60")
	begun := time.Now()
	ctx, cancel := contextFor(t, 200*time.Millisecond)
	defer cancel()
	if _, err := s.Devices(ctx); err == nil || time.Since(begun) > 10*time.Second {
		t.Errorf("got %v after %v", err, time.Since(begun))
	}
}

func FuzzDevices(f *testing.F) {
	f.Add(twoGPUs, "GPU-bbbb, 4242, 2048\n")
	f.Add("No devices were found", "\"")
	f.Add("0,\"a\nb\",c,-1,9999999999999999999,1,1,1,1\n", "a,b,c\n")
	f.Fuzz(func(t *testing.T, gpus, apps string) {
		devices, err := parseDevices([]byte(gpus))
		if err != nil {
			return
		}
		if len(devices) > MaxDevices {
			t.Fatalf("%d devices", len(devices))
		}
		_ = parseProcesses([]byte(apps), devices)
		for _, d := range devices {
			if d.Index < 0 || d.TotalBytes <= 0 || d.UsedBytes < Unknown || d.FreeBytes < Unknown || d.ECCErrors < Unknown || len(d.Processes) > MaxProcesses {
				t.Fatalf("%+v", d)
			}
		}
	})
}
