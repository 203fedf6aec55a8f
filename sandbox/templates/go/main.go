// The web service of @NAME@: `@NAME@ PORT VERSION`.
package main

import (
	"encoding/json"
	"log"
	"net/http"
	"os"
)

// answer returns the status and the answer to a request for that path.
func answer(path, version, host string) (int, map[string]string) {
	switch path {
	case "/":
		return 200, map[string]string{"application": "@NAME@", "version": version, "host": host}
	case "/health":
		return 200, map[string]string{"version": version}
	}
	return 404, map[string]string{"error": "no such page"}
}

func main() {
	if len(os.Args) != 3 {
		log.Fatalf("usage: %s PORT VERSION", os.Args[0])
	}
	host, _ := os.Hostname()
	http.HandleFunc("/", func(response http.ResponseWriter, request *http.Request) {
		status, said := answer(request.URL.Path, os.Args[2], host)
		response.Header().Set("Content-Type", "application/json")
		response.WriteHeader(status)
		json.NewEncoder(response).Encode(said)
	})
	log.Fatal(http.ListenAndServe(":"+os.Args[1], nil))
}
