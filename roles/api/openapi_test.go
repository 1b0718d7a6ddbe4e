package api

import (
	"bytes"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"muster/images"
	"muster/roles"
)

type description struct {
	OpenAPI string
	// Paths have operations by method, and "parameters".
	Paths      map[string]map[string]yaml.Node
	Components struct {
		Schemas map[string]struct {
			Properties map[string]any
			Enum       []string
		}
	}
}

func parseDescription(t *testing.T) (d description) {
	t.Helper()
	if err := yaml.Unmarshal(OpenAPI, &d); err != nil {
		t.Fatal(err)
	}
	return d
}

func TestOpenAPIHasEveryRouteAndNoOther(t *testing.T) {
	var want, got []string
	for _, r := range (&Server{}).routes() {
		want = append(want, r.method+" "+r.path)
	}
	ids := map[string]bool{}
	for path, ops := range parseDescription(t).Paths {
		for method, node := range ops {
			if method == "parameters" {
				continue
			}
			got = append(got, strings.ToUpper(method)+" "+path)
			var op struct {
				OperationID string `yaml:"operationId"`
			}
			if err := node.Decode(&op); err != nil {
				t.Fatal(err)
			}
			if op.OperationID == "" || ids[op.OperationID] {
				t.Errorf("%s %s: operationId %q is empty or used twice", method, path, op.OperationID)
			}
			ids[op.OperationID] = true
		}
	}
	slices.Sort(want)
	slices.Sort(got)
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("routes (-) and openapi.yaml (+) differ:\n%s", d)
	}
}

func TestOpenAPIReferencesExist(t *testing.T) {
	var doc any
	if err := yaml.Unmarshal(OpenAPI, &doc); err != nil {
		t.Fatal(err)
	}
	refs := regexp.MustCompile(`\$ref: '#/([^']+)'`).FindAllSubmatch(OpenAPI, -1)
	if len(refs) < 50 {
		t.Fatalf("only %d references found", len(refs))
	}
	for _, r := range refs {
		at := doc
		for part := range strings.SplitSeq(string(r[1]), "/") {
			m, _ := at.(map[string]any)
			at = m[part]
		}
		if at == nil {
			t.Errorf("%s does not exist", r[1])
		}
	}
}

// TestOpenAPISchemasAreTheTypes compares the schemas' properties with the JSON of the Go types.
func TestOpenAPISchemasAreTheTypes(t *testing.T) {
	schemas := parseDescription(t).Components.Schemas
	for _, v := range []any{
		roles.Node{}, roles.Replacement{}, roles.Power{}, roles.Facts{}, roles.Inventory{}, roles.NIC{}, roles.Disk{},
		roles.Boot{}, roles.Event{}, roles.PoolStatus{}, roles.SlotStatus{}, roles.Size{}, roles.Match{}, roles.Role{},
		roles.VolumeMount{}, roles.Health{}, roles.HTTPCheck{}, roles.TCPCheck{}, roles.NTPCheck{}, roles.Change{},
		roles.FieldChange{}, images.Image{}, images.Recipe{}, LeaseView{}, LeaseReport{}, LeaseLine{}, TracePacket{}, Finding{}, BuildLine{}, BuildProgress{},
		roles.SMTPCheck{}, roles.IMAPCheck{}, roles.DNSCheck{}, roles.File{}, roles.SecretSpec{}, roles.Secret{},
		roles.Rollout{}, roles.RolloutSlot{}, images.Diff{}, images.PackageChange{}, images.FileChange{}, images.Pruned{},
		RolloutRequest{}, RestartRequest{}, SyncStatus{}, PruneRequest{}, Verification{}, Problem{}, SecretRequest{},
		roles.PairSpec{}, roles.DiskRule{}, roles.PairView{}, roles.HalfView{}, roles.PairDisk{}, roles.PairBackup{},
		ClaimRequest{}, PromoteRequest{}, KeepRequest{}, MaintenanceRequest{}, Restored{},
		AssignRequest{}, ReplaceRequest{}, PowerRequest{}, PowerStatus{}, Liveness{}, Version{}, Error{},
	} {
		typ := reflect.TypeOf(v)
		s, ok := schemas[typ.Name()]
		if !ok {
			t.Errorf("schema %s is missing", typ.Name())
			continue
		}
		want, got := properties(typ), slices.Sorted(maps.Keys(s.Properties))
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s: Go (-) and openapi.yaml (+) differ:\n%s", typ.Name(), d)
		}
	}
	steps := schemas["Step"].Enum
	for _, s := range roles.Steps {
		if !slices.Contains(steps, string(s)) {
			t.Errorf("step %s is missing", s)
		}
	}
}

// properties are the names that a struct has in JSON.
func properties(t reflect.Type) (out []string) {
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case f.Anonymous && name == "":
			out = append(out, properties(f.Type)...)
		case name != "-" && name != "":
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

func TestOpenAPIIsServed(t *testing.T) {
	w := do(&Server{Rack: newRegistry(t)}, "GET", "/v1/openapi.yaml")
	if w.Code != 200 || !bytes.Equal(w.Body.Bytes(), OpenAPI) {
		t.Errorf("status %d, %d bytes", w.Code, w.Body.Len())
	}
}
