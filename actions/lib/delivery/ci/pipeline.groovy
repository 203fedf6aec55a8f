// Made by cicd_canary.jenkins_job_ensure from the pack's template: changes made here are undone.
// The address of the callback is written here and not taken from the parameters, so that whoever
// may start the job cannot have the callback's secret sent elsewhere.
pipeline {
  agent { label @AGENT_LABEL@ }
  options {
    skipDefaultCheckout()
    timeout(time: @TIMEOUT_S@, unit: 'SECONDS')
  }
  environment {
    CI = 'true'
    CICD_COMMIT = "${params.COMMIT}"
    CICD_BRANCH = "${params.BRANCH}"
    GIT_TERMINAL_PROMPT = '0'
  }
  stages {
    stage('check out') {
      steps {
        sh @CHECK_PARAMETERS@
        checkout([
          $class: 'GitSCM',
          branches: [[name: params.COMMIT]],
          userRemoteConfigs: [[
            url: @GIT_URL@ + '/' + params.REPOSITORY + '.git',
            refspec: '+refs/heads/' + params.BRANCH + ':refs/remotes/origin/' + params.BRANCH,
            credentialsId: @GIT_CREDENTIAL@
          ]],
          extensions: [
            [$class: 'WipeWorkspace'],
            [$class: 'SubmoduleOption', recursiveSubmodules: true, parentCredentials: true]
          ]
        ])
        sh @CHECK_SOURCE@
      }
    }
    stage('script/cisetup') {
      steps { dir(params.DIRECTORY ?: '.') { sh './script/cisetup' } }
    }
    stage('script/cibuild') {
      steps { dir(params.DIRECTORY ?: '.') { sh './script/cibuild' } }
    }
  }
  post {
    always {
      script {
        // A callback that fails changes nothing: Jenkins is asked for the result in any case.
        if (@CALLBACK_URL@) {
          catchError(buildResult: 'SUCCESS', stageResult: 'SUCCESS') {
            withCredentials([string(credentialsId: @CALLBACK_CREDENTIAL@, variable: 'SECRET')]) {
              withEnv(['CALLBACK_TO=' + @CALLBACK_URL@]) {
                sh @CALL_BACK@
              }
            }
          }
        }
      }
    }
    cleanup {
      deleteDir()
    }
  }
}
