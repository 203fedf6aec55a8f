package main

import "testing"

func TestItSaysItsVersion(t *testing.T) {
	for _, path := range []string{"/", "/health"} {
		if status, said := answer(path, "1.2.3", "here"); status != 200 || said["version"] != "1.2.3" {
			t.Errorf("%s: %d %v", path, status, said)
		}
	}
}
