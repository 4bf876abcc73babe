"""All that the commands which change something work on: workspace, study, profile, store."""

from dataclasses import dataclass

from pipeline.digest import digest_of
from pipeline.profiles import Profile, load_profile
from pipeline.remains import refuse_lost
from pipeline.store import StateStore
from pipeline.study import Study, load_study
from pipeline.toml_file import read_toml
from pipeline.workspace import Workspace


@dataclass(frozen=True)
class Site:
    """One validated study in its workspace, and the profile its next tasks go to."""

    workspace: Workspace
    study: Study
    profile_name: str
    profile: Profile
    store: StateStore


def open_site(workspace: Workspace, profile_name: str | None) -> Site:
    """Load and validate everything; the profile is the named, the last used or the study's own.

    Raises:
        PipelineError: the study, the profiles or the state are wrong.
    """
    study = load_study(workspace.study_file)
    store = StateStore(workspace.state_dir)
    state = store.load()
    if state is None:
        refuse_lost(workspace)
    name = profile_name or (state.profile if state else study.file.study.profile)
    return Site(workspace, study, name, load_profile(workspace.profiles_file(), name), store)


def fresh(site: Site) -> Site:
    """The same site, read anew when study.toml was edited since; call it under the lock.

    Raises:
        PipelineError: what the file says now is wrong.
    """
    content, _ = read_toml(site.workspace.study_file)
    if digest_of(content) == site.study.source_digest:
        return site
    return open_site(site.workspace, site.profile_name)
