package allinone

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/poterne/poterne/pkg/config"
)

const (
	masterKeyBytes = 32
	// masterKeyName is what of it is kept beside what it seals.
	masterKeyName = "local"
	// webhooksKey is the file of the key that seals the secrets of webhooks.
	webhooksKey = "webhooks.key"
)

// masterKey returns the master key in its file of the data directory, `name:key` as the
// services' settings have it, readable by its owner only. The first start makes it: who
// has a copy of the databases, and not of this file, reads nothing that it seals. One
// that is there is never replaced, since what it sealed would be lost.
func (d *dataDir) masterKey() (config.Secret, error) {
	path := d.join(webhooksKey)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return d.makeMasterKey(path)
	}
	if err != nil {
		return "", fmt.Errorf("data directory: %w", err)
	}
	return config.Secret(strings.TrimSpace(string(text))), nil
}

// makeMasterKey has the file be there whole, or not at all.
func (d *dataDir) makeMasterKey(path string) (_ config.Secret, err error) {
	key := make([]byte, masterKeyBytes)
	if _, err := rand.Read(key); err != nil {
		return "", fmt.Errorf("make %s: %w", filepath.Base(path), err)
	}
	text := masterKeyName + ":" + base64.StdEncoding.EncodeToString(key)
	f, err := os.CreateTemp(d.path, filepath.Base(path)+".*") // with 0600
	if err != nil {
		return "", fmt.Errorf("data directory: %w", err)
	}
	_, err = f.WriteString(text + "\n")
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return "", errors.Join(fmt.Errorf("data directory: %w", err), os.Remove(f.Name()))
	}
	return config.Secret(text), nil
}
