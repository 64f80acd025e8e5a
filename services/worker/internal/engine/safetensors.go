package engine

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
)

// maxSafetensorsHeader is the format's own limit.
const maxSafetensorsHeader = 100_000_000

// safetensorsBytes returns what the tensors of a safetensors file take, from its
// header alone: eight bytes with the header's length, least byte first, a JSON
// object with the place of every tensor, and then the tensors.
func safetensorsBytes(path string) (int64, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return readSafetensors(f, info.Size())
}

func readSafetensors(r io.Reader, size int64) (int64, error) {
	var head [8]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, fmt.Errorf("its header: %w", err)
	}
	length := binary.LittleEndian.Uint64(head[:])
	if length > maxSafetensorsHeader || int64(length) > size-int64(len(head)) {
		return 0, fmt.Errorf("its header has %d bytes: more than the file, or than the format allows", length)
	}
	data := size - int64(len(head)) - int64(length)
	dec := json.NewDecoder(io.LimitReader(r, int64(length)))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return 0, errors.Join(errors.New("its header is not a JSON object"), err)
	}
	var sum int64
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return 0, fmt.Errorf("its header: %w", err)
		}
		var tensor struct {
			Offsets *[2]int64 `json:"data_offsets"`
		}
		if err := dec.Decode(&tensor); err != nil {
			return 0, fmt.Errorf("its header: %w", err)
		}
		if tensor.Offsets == nil {
			continue // __metadata__
		}
		begin, end := tensor.Offsets[0], tensor.Offsets[1]
		if begin < 0 || end < begin || end > data {
			return 0, fmt.Errorf("tensor %.64v lies outside the file", name)
		}
		sum += end - begin
		if sum > data {
			return 0, errors.New("its tensors take more than the file has")
		}
	}
	if _, err := dec.Token(); err != nil {
		return 0, fmt.Errorf("its header ends early: %w", err)
	}
	return sum, nil
}
