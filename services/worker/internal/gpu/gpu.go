// Package gpu says which GPUs this machine has and how they are. It decides
// nothing; start reading at Source, then at Inventory.
package gpu

import (
	"context"
	"strconv"
)

// Unknown is what a figure is that the driver does not tell.
const Unknown = -1

// MaxDevices bounds the GPUs of one machine, and MaxProcesses the processes
// that are told of each.
const (
	MaxDevices   = 64
	MaxProcesses = 64
)

// Device is one GPU at one moment. Figures that are not known are Unknown.
type Device struct {
	// Index is its place in the driver's list, from 0.
	Index int
	// UUID is the driver's name for this very device.
	UUID string
	// Name is the product's.
	Name string
	// The memory, in bytes, whoever takes it.
	TotalBytes, UsedBytes, FreeBytes int64
	// Utilization is how busy it was of late, in percent.
	Utilization int
	// Temperature is in degrees Celsius.
	Temperature int
	// ECCErrors counts the memory errors since the driver was loaded that could
	// not be corrected.
	ECCErrors int64
	// Processes are those that compute on it.
	Processes []Process
}

// Process is one process on a GPU.
type Process struct {
	PID int
	// Bytes is what it takes of the GPU's memory.
	Bytes int64
}

// Pool is the name of the device's memory pool.
func (d Device) Pool() string { return Pool(d.Index) }

// Pool is the name of the memory pool of the GPU with that index.
func Pool(index int) string { return "gpu" + strconv.Itoa(index) }

// Source asks the driver. It is safe for concurrent use.
type Source interface {
	// Devices returns the GPUs by index; none is no error. It may take seconds and
	// ends with ctx.
	Devices(ctx context.Context) ([]Device, error)
}

// None is the source of a machine without GPUs.
type None struct{}

// Devices returns none.
func (None) Devices(context.Context) ([]Device, error) { return nil, nil }
