package gpu

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/poterne/poterne/services/worker/internal/process"
)

// NvidiaSMI asks NVIDIA's driver by the program that comes with it, which is
// NVML's own front: the library itself could only be loaded by a binary that is
// linked to the C library.
type NvidiaSMI struct {
	// Path is the program.
	Path string
	// Visible, unless empty, are the UUIDs or indexes that are shown, separated by
	// commas, as in CUDA_VISIBLE_DEVICES; the others are as if they were not there.
	Visible string
}

// nvidiaTimeout bounds one question: without persistence mode the driver wakes
// every GPU first.
const nvidiaTimeout = 10 * time.Second

const (
	deviceFields = "index,uuid,name,memory.total,memory.used,memory.free,utilization.gpu,temperature.gpu,ecc.errors.uncorrected.volatile.total"
	// A process is told once for each GPU that it is on.
	processFields = "gpu_uuid,pid,used_memory"
)

// Devices runs the program twice: for the GPUs and for what computes on them.
func (n *NvidiaSMI) Devices(ctx context.Context) ([]Device, error) {
	ctx, cancel := context.WithTimeout(ctx, nvidiaTimeout)
	defer cancel()
	out, err := n.query(ctx, "--query-gpu="+deviceFields)
	if err != nil {
		return nil, err
	}
	devices, err := parseDevices(out)
	if err != nil || len(devices) == 0 {
		return nil, err
	}
	devices = visible(devices, n.Visible)
	out, err = n.query(ctx, "--query-compute-apps="+processFields)
	if err != nil {
		return nil, err
	}
	if err := parseProcesses(out, devices); err != nil {
		return nil, err
	}
	return devices, nil
}

func (n *NvidiaSMI) query(ctx context.Context, what string) ([]byte, error) {
	answer, err := process.Ask(ctx, n.Path, what, "--format=csv,noheader,nounits")
	switch {
	case err != nil:
		return nil, fmt.Errorf("nvidia-smi: %w", err)
	case answer.Code != 0:
		return nil, fmt.Errorf("nvidia-smi: exit code %d: %s", answer.Code, firstLine(append(answer.Err, answer.Out...)))
	case answer.Over:
		return nil, fmt.Errorf("nvidia-smi: wrote more than %d bytes", process.MaxAnswer)
	}
	return answer.Out, nil
}

func firstLine(b []byte) string {
	line, _, _ := strings.Cut(strings.TrimSpace(string(b)), "\n")
	return strings.ToValidUTF8(line[:min(len(line), 256)], "")
}

// parseDevices reads the program's table of GPUs.
func parseDevices(out []byte) ([]Device, error) {
	var devices []Device
	err := rows(out, strings.Count(deviceFields, ",")+1, func(f []string) error {
		if len(devices) == MaxDevices {
			return fmt.Errorf("more than %d GPUs", MaxDevices)
		}
		index, err := strconv.Atoi(f[0])
		if err != nil || index < 0 {
			return fmt.Errorf("a GPU with the index %q", f[0])
		}
		d := Device{
			Index: index, UUID: f[1], Name: f[2], TotalBytes: mebibytes(f[3]), UsedBytes: mebibytes(f[4]), FreeBytes: mebibytes(f[5]),
			Utilization: int(figure(f[6], 100)), Temperature: int(figure(f[7], 1000)), ECCErrors: figure(f[8], 1<<62),
		}
		if d.TotalBytes <= 0 {
			// Without its size nothing can be placed on it; a GPU that fell off the bus
			// is told so.
			return nil
		}
		if d.FreeBytes == Unknown && d.UsedBytes != Unknown {
			d.FreeBytes = max(d.TotalBytes-d.UsedBytes, 0)
		}
		devices = append(devices, d)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("nvidia-smi: %w", err)
	}
	return devices, nil
}

// parseProcesses adds the processes to their devices.
func parseProcesses(out []byte, devices []Device) error {
	byUUID := make(map[string]*Device, len(devices))
	for i := range devices {
		byUUID[devices[i].UUID] = &devices[i]
	}
	err := rows(out, strings.Count(processFields, ",")+1, func(f []string) error {
		// Others are of a GPU that is not shown, or in a form that is not known.
		if d, pid := byUUID[f[0]], figure(f[1], math.MaxInt32); d != nil && pid > 0 && len(d.Processes) < MaxProcesses {
			d.Processes = append(d.Processes, Process{PID: int(pid), Bytes: mebibytes(f[2])})
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("nvidia-smi: %w", err)
	}
	return nil
}

// rows calls fn with the trimmed cells of every row. "No devices were found" is
// how the program says that there are none.
func rows(out []byte, cells int, fn func(cells []string) error) error {
	if text := strings.TrimSpace(string(out)); text == "" || strings.EqualFold(strings.TrimSuffix(text, "."), "No devices were found") {
		return nil
	}
	r := csv.NewReader(bytes.NewReader(out))
	r.FieldsPerRecord, r.LazyQuotes = -1, true
	for {
		row, err := r.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("its table cannot be read: %w", err)
		}
		if len(row) != cells {
			return fmt.Errorf("a row of its table has %d cells, not %d", len(row), cells)
		}
		for i := range row {
			row[i] = strings.TrimSpace(row[i])
		}
		if err := fn(row); err != nil {
			return err
		}
	}
}

// figure reads a whole number from 0 to limit; what is not one, such as [N/A],
// is Unknown.
func figure(text string, limit int64) int64 {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 || n > limit {
		return Unknown
	}
	return n
}

func mebibytes(text string) int64 {
	n := figure(text, 1<<40)
	if n == Unknown {
		return Unknown
	}
	return n << 20
}

// visible keeps the devices that list names, in the driver's order.
func visible(devices []Device, list string) []Device {
	if list == "" {
		return devices
	}
	var out []Device
	for _, d := range devices {
		for name := range strings.SplitSeq(list, ",") {
			name = strings.TrimSpace(name)
			// A UUID may be cut short as long as it stays unique.
			if name == strconv.Itoa(d.Index) || strings.HasPrefix(name, "GPU-") && strings.HasPrefix(d.UUID, name) {
				out = append(out, d)
				break
			}
		}
	}
	return out
}
