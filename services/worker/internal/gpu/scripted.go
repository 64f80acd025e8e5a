package gpu

import (
	"context"
	"slices"
	"sync"
)

// Scripted is a source that says what it was told to, for tests and for machines
// without GPUs that are to behave as if they had some. It is safe for concurrent
// use.
type Scripted struct {
	mu      sync.Mutex
	devices []Device
	err     error
	asked   int
}

// NewScripted returns a source of the given devices.
func NewScripted(devices ...Device) *Scripted { return &Scripted{devices: devices} }

// H100 returns a device with 80 GiB, for scripts.
func H100(index int) Device {
	const total = 80 << 30
	return Device{Index: index, UUID: "GPU-scripted-" + Pool(index), Name: "Scripted H100", TotalBytes: total, FreeBytes: total, Temperature: 40}
}

// Set replaces the devices.
func (s *Scripted) Set(devices ...Device) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.devices = devices
}

// Change changes one device.
func (s *Scripted) Change(index int, change func(d *Device)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.devices = slices.Clone(s.devices)
	for i := range s.devices {
		if s.devices[i].Index == index {
			change(&s.devices[i])
		}
	}
}

// Fail has every question end with err, until it is nil.
func (s *Scripted) Fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}

// Asked returns how often the source was asked.
func (s *Scripted) Asked() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked
}

// Devices returns what the script says.
func (s *Scripted) Devices(context.Context) ([]Device, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked++
	if s.err != nil {
		return nil, s.err
	}
	return slices.Clone(s.devices), nil
}
