"""All that the commands which change something work on: workspace, study, profile, store."""

from dataclasses import dataclass

from pipeline.profiles import Profile, load_profile
from pipeline.store import StateStore
from pipeline.study import Study, load_study
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
    name = profile_name or (state.profile if state else study.file.study.profile)
    return Site(workspace, study, name, load_profile(workspace.profiles_file(), name), store)
