package serve

import (
	"fmt"
	"slices"
	"strings"

	"muster/cmd/muster/doctor"
	"muster/cmd/muster/qnetd"
	"muster/roles"
	"muster/roles/api"
)

// examinePairs is what the doctor says of the storage pairs: nothing where there is none.
func (s *server) examinePairs() ([]api.Finding, error) {
	all, err := s.registry.Pairs()
	if err != nil || len(all) == 0 {
		return nil, err
	}
	out := []api.Finding{voteFinding(qnetd.Missing(), s.vote.Up())}
	for _, v := range all {
		out = append(out, pairFinding(v), fencingFinding(v))
	}
	return out, nil
}

// voteFinding is about the third vote.
func voteFinding(missing error, up bool) api.Finding {
	f := api.Finding{Check: "third vote", Status: string(doctor.OK), Detail: "corosync-qnetd runs: a storage pair can tell a dead half from a cut link"}
	switch {
	case missing != nil:
		f.Status, f.Fix = string(doctor.Fail), qnetd.Install
		f.Detail = "the storage pairs have no third vote, and do not survive the death of a half: corosync-qnetd, certutil or pk12util is not installed here"
	case !up:
		f.Status, f.Fix = string(doctor.Fail), "systemctl disable --now corosync-qnetd, if another one has port 5403; the log of muster serve says more"
		f.Detail = "corosync-qnetd does not run: the storage pairs do not survive the death of a half"
	}
	return f
}

// pairFinding is about a pair as a whole.
func pairFinding(v roles.PairView) api.Finding {
	f := api.Finding{Check: "storage pair " + v.Pool, Status: string(doctor.OK), Detail: "it is " + v.State}
	if v.Why != "" {
		f.Detail += ": " + v.Why
	}
	switch v.State {
	case roles.PairWhole:
		return f
	case roles.PairNew, roles.PairDegraded:
		f.Status = string(doctor.Warn)
	default:
		f.Status = string(doctor.Fail)
	}
	f.Fix = "muster storage status " + v.Pool
	return f
}

// fencingFinding is about the power of a pair's halves.
func fencingFinding(v roles.PairView) api.Finding {
	f := api.Finding{Check: "fencing of " + v.Pool, Status: string(doctor.OK), Detail: "the power of both halves can be cut"}
	var bad, untried []string
	for _, h := range v.Halves {
		switch {
		case h.Fencing != "":
			bad = append(bad, h.Fencing)
		case h.FencingAt.IsZero():
			untried = append(untried, h.Slot)
		}
	}
	switch {
	case len(bad) > 0:
		f.Status, f.Fix = string(doctor.Fail), "muster node power NODE status, and the power of its declaration (power: in rack.yaml)"
		f.Detail = "there is no failover: " + strings.Join(slices.Compact(bad), "; ")
	case len(untried) > 0:
		f.Status, f.Detail = string(doctor.Warn), fmt.Sprintf("whether the power of %s can be cut was not tried yet; it is tried every minute", strings.Join(untried, " and "))
	}
	return f
}
