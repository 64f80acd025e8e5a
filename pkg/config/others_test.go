package config

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"
)

// What the scripts export must not stop a service that is started beside them.
func TestTheScriptsVariablesAreKnown(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("..", "..", "scripts", "components", "*.sh"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	names := 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range regexp.MustCompile(`POTERNE_[A-Z][A-Z0-9_]*[A-Z0-9]`).FindAllString(string(text), -1) {
			names++
			if !otherName(name, "/somewhere") {
				t.Errorf("%s: %s is taken for a misspelt setting", filepath.Base(file), name)
			}
		}
	}
	if names < 10 {
		t.Errorf("only %d names were found", names)
	}
}
